//! What a mount offers, in rmcp's model, made once for each manifest.
//!
//! In:   a mount.
//! Out:  capabilities, never more than is there; the lists, page by page.
//! Never: asks the plugin.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use rmcp::{
    ErrorData,
    model::{
        Icon, Implementation, Prompt, Resource, ResourceTemplate, ServerCapabilities, ServerConfig, Tool,
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    load::{Manifest, TaskSupport, ToolSpec},
    mount::Mount,
    serve::caller::Caller,
};

/// Most entries in one page of a list.
const PAGE: usize = 1000;

/// SEP-2663.
const TASKS: &str = "io.modelcontextprotocol/tasks";
/// SEP-2640.
const SKILLS: &str = "io.modelcontextprotocol/skills";

/// What a mount offers.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) mount: Arc<Mount>,
    pub(super) info: ServerConfig,
    pub(super) tools: List<Tool>,
    pub(super) prompts: List<Prompt>,
    pub(super) resources: List<Resource>,
    pub(super) templates: List<ResourceTemplate>,
    by_name: HashMap<String, usize>,
    /// What callers see who may not use all of it: for each view of the mount.
    views: Mutex<Vec<Arc<Self>>>,
}

/// More views are not kept, as the mount does not keep more.
const VIEWS_MAX: usize = 64;

impl Offer {
    pub(super) fn new(mount: Arc<Mount>) -> Self {
        let manifest = &*mount.manifest;
        let mut implementation = Implementation::new(&manifest.name, &manifest.version);
        implementation.title.clone_from(&manifest.title);
        implementation.website_url.clone_from(&manifest.website_url);
        implementation.icons = icons(manifest);
        let mut info = ServerConfig::new(capabilities(manifest)).with_server_info(implementation);
        info.instructions.clone_from(&manifest.instructions);
        let tools: Vec<Tool> = manifest.tools.iter().map(tool).collect();
        let by_name = tools.iter().enumerate().map(|(at, tool)| (tool.name.to_string(), at)).collect();
        Self {
            info,
            tools: List::new(tools, manifest.tools.iter().map(|tool| &tool.wire)),
            prompts: List::read(&manifest.prompts),
            resources: List::read(&manifest.resources),
            templates: List::read(&manifest.resource_templates),
            by_name,
            views: Mutex::default(),
            mount,
        }
    }

    /// What `caller` gets of it: lists are prepared once for each set of tools, not for each caller.
    pub(super) fn seen_by(self: &Arc<Self>, caller: &Caller) -> Arc<Self> {
        self.seen_as(caller.access.view(&self.mount, &caller.principal))
    }

    /// Nothing of it, for whoever has not been let in.
    pub(super) fn seen_by_nobody(self: &Arc<Self>) -> Arc<Self> {
        self.seen_as(self.mount.seen(false, |_| false))
    }

    fn seen_as(self: &Arc<Self>, view: Arc<Mount>) -> Arc<Self> {
        if Arc::ptr_eq(&view, &self.mount) {
            return self.clone();
        }
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = views.iter().find(|made| Arc::ptr_eq(&made.mount, &view)) {
            return made.clone();
        }
        if views.len() >= VIEWS_MAX {
            views.clear();
        }
        let made = Arc::new(Self::new(view));
        views.push(made.clone());
        made
    }

    pub(super) fn tool(&self, name: &str) -> Option<Tool> {
        self.by_name.get(name).and_then(|at| self.tools.items.get(*at)).cloned()
    }

    pub(super) fn capabilities(&self) -> &ServerCapabilities {
        &self.info.capabilities
    }

    /// What becomes of a call of `tool` that wants to go on as a task. A tool that is not in the table may turn
    /// out to be able to.
    pub(super) fn task_support(&self, tool: &str) -> Option<TaskSupport> {
        let manifest = &self.mount.manifest;
        let unknown = || {
            (manifest.is_dynamic("tools/list") && self.mount.tool(tool).is_none())
                .then_some(TaskSupport::Optional)
        };
        let named = manifest.task_support.get(tool).copied().or_else(unknown);
        named.filter(|_| self.info.capabilities.supports_tasks())
    }

    /// Whether the method is part of what is offered; what is not answers that there is no such method.
    pub(super) fn has(&self, method: &str) -> bool {
        let offered = &self.info.capabilities;
        match method {
            "tools/list" | "tools/call" => offered.tools.is_some(),
            "prompts/list" | "prompts/get" => offered.prompts.is_some(),
            "resources/list" | "resources/templates/list" | "resources/read" => offered.resources.is_some(),
            "resources/subscribe" | "resources/unsubscribe" => {
                offered.resources.as_ref().is_some_and(|resources| resources.subscribe == Some(true))
            }
            "completion/complete" => offered.completions.is_some(),
            "logging/setLevel" => offered.logging.is_some(),
            "skills/list" | "skills/get" => offered.supports_skills(),
            "resources/directory/read" => offered.supports_directory_read(),
            "tasks/get" | "tasks/update" | "tasks/cancel" => offered.supports_tasks(),
            "subscriptions/listen" => true,
            _ => false,
        }
    }
}

/// The icons that strict clients accept: theirs would refuse the whole server for the sake of a picture.
fn icons(manifest: &Manifest) -> Option<Vec<Icon>> {
    let mut icons: Vec<Icon> = serde_json::from_value(manifest.icons.clone()?).ok()?;
    icons.retain(|icon| {
        let is_uri = icon.src.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"{}|\\^`".contains(&byte));
        if !is_uri {
            let src: String = icon.src.chars().take(80).collect();
            tracing::warn!(plugin = manifest.name, src, "icon left out: its `src` is not a URI; encode it");
        }
        is_uri
    });
    Some(icons).filter(|icons| !icons.is_empty())
}

/// What is declared and there. A list that may change or is made call by call may be empty. Each list that is there may
/// change, whatever the plugin says: by the next generation of the server.
fn capabilities(manifest: &Manifest) -> ServerCapabilities {
    let empty = Map::new();
    let declared = manifest.capabilities.as_ref().unwrap_or(&empty);
    let mut offered = declared.clone();
    let mut keep = |name: &str, lists: &[(&str, bool)]| {
        let details = declared.get(name).and_then(Value::as_object);
        let may_change = details.is_some_and(|details| details.values().any(|detail| detail == true));
        let has_some = lists.iter().any(|(method, listed)| *listed || manifest.is_dynamic(method));
        if !has_some && !may_change {
            offered.shift_remove(name);
        } else {
            let mut details = details.cloned().unwrap_or_default();
            details.insert("listChanged".into(), true.into());
            offered.insert(name.into(), details.into());
        }
    };
    keep("tools", &[("tools/list", !manifest.tools.is_empty())]);
    keep("prompts", &[("prompts/list", !manifest.prompts.is_empty())]);
    let (resources, templates) = (&manifest.resources, &manifest.resource_templates);
    let has_skills = declared.get("extensions").is_some_and(|extensions| extensions.get(SKILLS).is_some());
    keep(
        "resources",
        // The files of skills are resources.
        &[
            ("resources/list", !resources.is_empty() || has_skills),
            ("resources/templates/list", !templates.is_empty()),
        ],
    );
    if let Some(Value::Object(extensions)) = offered.get_mut("extensions")
        && manifest.task_support.is_empty()
        && !manifest.is_dynamic("tools/list")
    {
        extensions.shift_remove(TASKS);
        if extensions.is_empty() {
            offered.shift_remove("extensions");
        }
    }
    serde_json::from_value(offered.into()).unwrap_or_else(|error| {
        tracing::warn!(plugin = manifest.name, %error, "capabilities unreadable");
        let mut offered = ServerCapabilities::default();
        offered.tools = (!manifest.tools.is_empty()).then(Default::default);
        if let Some(tools) = &mut offered.tools {
            tools.list_changed = Some(true);
        }
        offered
    })
}

/// The declaration as the plugin wrote it; if rmcp's model cannot hold it, what every tool has.
fn tool(spec: &ToolSpec) -> Tool {
    serde_json::from_value(spec.wire.clone().into()).unwrap_or_else(|error| {
        tracing::warn!(tool = spec.name, %error, "tool declaration partly unreadable");
        let description = spec.description.clone().map(Into::into);
        let mut tool = Tool::new_with_raw(spec.name.clone(), description, spec.input_schema.clone());
        tool.title.clone_from(&spec.title);
        tool.output_schema = spec.output_schema.clone().map(Into::into);
        tool
    })
}

/// A list in the plugin's order, which clients read page by page.
#[derive(Debug)]
pub(super) struct List<T> {
    items: Vec<T>,
    /// Stands for its content: a cursor into another content leads nowhere.
    tag: u64,
}

impl<T: Clone> List<T> {
    fn new<'a>(items: Vec<T>, wire: impl IntoIterator<Item = &'a Map<String, Value>>) -> Self {
        // This hasher's keys are constants: replicas understand each other's cursors.
        let mut tag = DefaultHasher::new();
        wire.into_iter().for_each(|entry| Value::Object(entry.clone()).to_string().hash(&mut tag));
        Self { items, tag: tag.finish() }
    }

    /// What of `wire` rmcp's model can hold.
    fn read(wire: &[Map<String, Value>]) -> Self
    where
        T: DeserializeOwned,
    {
        let read = |entry: &Map<String, Value>| {
            let item = serde_json::from_value(entry.clone().into());
            item.inspect_err(|error| tracing::warn!(%error, ?entry, "declaration unreadable, left out")).ok()
        };
        Self::new(wire.iter().filter_map(read).collect(), wire)
    }

    /// One page, and the cursor of the next.
    pub(super) fn page(&self, cursor: Option<&str>) -> Result<(Vec<T>, Option<String>), ErrorData> {
        self.page_of(PAGE, cursor)
    }

    fn page_of(&self, size: usize, cursor: Option<&str>) -> Result<(Vec<T>, Option<String>), ErrorData> {
        let unknown =
            || ErrorData::invalid_params("unknown cursor; the list may have changed: start over", None);
        let start = match cursor {
            None => 0,
            Some(cursor) => {
                let (start, tag) = cursor.split_once('-').ok_or_else(unknown)?;
                let start = usize::from_str_radix(start, 16).map_err(|_| unknown())?;
                let is_ours = tag == format!("{:016x}", self.tag) && start % size == 0;
                if !is_ours || !(1..self.items.len()).contains(&start) {
                    return Err(unknown());
                }
                start
            }
        };
        let end = self.items.len().min(start + size);
        let next = (end < self.items.len()).then(|| format!("{end:x}-{:016x}", self.tag));
        Ok((self.items[start..end].to_vec(), next))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn offered(manifest: Value) -> Value {
        let mut whole = json!({ "name": "p", "version": "1" });
        whole.as_object_mut().expect("an object").extend(manifest.as_object().cloned().expect("an object"));
        let manifest = Manifest::parse(whole.to_string().as_bytes()).expect("the test's own manifest");
        serde_json::to_value(capabilities(&manifest)).expect("JSON")
    }

    #[test]
    fn no_more_is_offered_than_is_there() {
        let tool = json!([{ "name": "t", "inputSchema": { "type": "object" } }]);
        assert_eq!(offered(json!({})), json!({}));
        let tools = json!({ "tools": { "listChanged": true } });
        assert_eq!(offered(json!({ "tools": tool })), tools);
        let all = json!({ "tools": {}, "prompts": {}, "resources": {}, "extensions": { TASKS: {} } });
        assert_eq!(offered(json!({ "capabilities": all, "tools": tool })), tools);
        let may_change = json!({ "prompts": { "listChanged": true }, "logging": {}, "completions": {} });
        assert_eq!(offered(json!({ "capabilities": may_change })), may_change);
        let dynamic = json!({ "capabilities": { "prompts": {} }, "dynamic": ["prompts/list"] });
        assert_eq!(offered(dynamic), json!({ "prompts": { "listChanged": true } }));
        let skills = json!({ "extensions": { SKILLS: { "directoryRead": true } } });
        let with_resources = json!({
            "resources": { "listChanged": true },
            "extensions": { SKILLS: { "directoryRead": true } },
        });
        assert_eq!(offered(json!({ "capabilities": skills })), with_resources);
    }

    #[test]
    fn a_list_is_read_page_by_page_and_other_cursors_lead_nowhere() {
        let entry = |n: usize| json!({ "n": n }).as_object().cloned().expect("an object");
        let wire: Vec<_> = (0..5).map(entry).collect();
        let list = List::new((0..5).collect(), &wire);
        let (first, next) = list.page_of(2, None).expect("the first page");
        let (second, next) = list.page_of(2, next.as_deref()).expect("the second");
        let (third, last) = list.page_of(2, next.as_deref()).expect("the third");
        assert_eq!((first, second, third, last), (vec![0, 1], vec![2, 3], vec![4], None));
        let other = List::new(vec![0; 4], &wire[..4]);
        let (_, foreign) = other.page_of(2, None).expect("a page");
        for cursor in [foreign.as_deref(), Some(""), Some("2"), Some("1-x"), Some("ffffffffffffffff-0")] {
            assert_eq!(list.page_of(2, cursor).expect_err("unknown").code.0, -32602, "{cursor:?}");
        }
        assert_eq!(List::<u8>::new(vec![], []).page(None).expect("empty"), (vec![], None));
    }
}
