//! What a caller sees of a mount who may not use all of it: a mount with fewer tools, made once for each set of tools.
//!
//! In:   a mount, and which of its tools are to be seen.
//! Out:  another mount of the same instance: its lists, suggestions and documents know of nothing else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;

use super::Mount;
use crate::load::Manifest;

/// More sets of tools are not kept for one mount: each takes its documents' memory. Callers with others wait longer.
const KEPT_MAX: usize = 64;

/// Whether all but tools is to be seen, and which tools: a bit for each.
type Seen = (bool, Vec<u64>);

/// What was made before.
#[derive(Debug, Default)]
pub(super) struct Views(Mutex<HashMap<Seen, Arc<Mount>>>);

impl Mount {
    /// The same mount with those tools alone that `sees` is true of; `is_whole`: with prompts, resources and all else.
    pub fn seen(self: &Arc<Self>, is_whole: bool, sees: impl Fn(&str) -> bool) -> Arc<Self> {
        let mut bits = vec![0_u64; self.tools.len().div_ceil(64)];
        let mut hidden = 0;
        for (at, tool) in self.tools.iter().enumerate() {
            match sees(&tool.spec.name) {
                true => bits[at / 64] |= 1 << (at % 64),
                false => hidden += 1,
            }
        }
        if is_whole && hidden == 0 {
            return self.clone();
        }
        let seen = (is_whole, bits);
        let lock = || self.views.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = lock().get(&seen) {
            return view.clone();
        }
        // Not under the lock: whoever sees something else need not wait for this.
        let view = Arc::new(self.only(&seen));
        let mut kept = lock();
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.entry(seen).or_insert(view).clone()
    }

    fn only(&self, (is_whole, bits): &Seen) -> Self {
        let is_seen = |at: usize| bits[at / 64] & (1 << (at % 64)) != 0;
        let tools: Vec<_> = self
            .tools
            .iter()
            .enumerate()
            .filter(|(at, _)| is_seen(*at))
            .map(|(_, tool)| tool.clone())
            .collect();
        let mut manifest = Manifest::clone(&self.manifest);
        manifest.tools = tools.iter().map(|tool| tool.spec.clone()).collect();
        manifest.task_support.retain(|name, _| tools.iter().any(|tool| tool.spec.name == *name));
        if !is_whole {
            without_all_but_tools(&mut manifest);
        }
        Self::with_tools(self.instance.clone(), Arc::new(manifest), tools)
    }
}

fn without_all_but_tools(manifest: &mut Manifest) {
    manifest.prompts.clear();
    manifest.resources.clear();
    manifest.resource_templates.clear();
    manifest.dynamic.retain(|list| list == "tools/list");
    let Some(capabilities) = &mut manifest.capabilities else { return };
    const OF_TOOLS: [&str; 3] = ["tools", "logging", "extensions"];
    capabilities.retain(|name, _| OF_TOOLS.contains(&name.as_str()));
    if let Some(Value::Object(extensions)) = capabilities.get_mut("extensions") {
        extensions.retain(|name, _| name == "io.modelcontextprotocol/tasks");
        if extensions.is_empty() {
            capabilities.shift_remove("extensions");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_may_use_single_tools_hears_of_nothing_else() {
        let all = json!({
            "name": "p", "version": "1",
            "capabilities": {
                "tools": {}, "prompts": {"listChanged": true}, "resources": {}, "completions": {}, "logging": {},
                "extensions": {"io.modelcontextprotocol/tasks": {}, "io.modelcontextprotocol/skills": {}},
            },
            "tools": [{"name": "t", "inputSchema": {"type": "object"}}],
            "prompts": [{"name": "p"}],
            "resources": [{"uri": "test://r", "name": "r"}],
            "dynamic": ["tools/list", "prompts/list"],
        });
        let mut manifest = Manifest::parse(all.to_string().as_bytes()).expect("the test's own manifest");
        without_all_but_tools(&mut manifest);
        assert!(manifest.prompts.is_empty() && manifest.resources.is_empty());
        assert_eq!(manifest.dynamic.iter().collect::<Vec<_>>(), ["tools/list"]);
        assert_eq!(
            Value::from(manifest.capabilities.expect("they were declared")),
            json!({"tools": {}, "logging": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}})
        );
    }
}
