//! What the tagged versions of the ABI promised is still there: `plugin-api/abi-1.0.txt` is the interface as it was
//! tagged, and never changes. Tables may have more at their end, structs may not.

use std::collections::BTreeMap;

use abi_stable::{
    StableAbi,
    type_layout::{TLFunction, TypeLayout},
};
use plugin_api::abi::PluginModuleRef;

/// Every table and struct by its name, with its members in order, one line each.
#[derive(Default)]
struct Shown(BTreeMap<String, (Kind, Vec<String>)>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Table,
    Struct,
}

impl Shown {
    fn of_abi() -> Self {
        let mut shown = Self::default();
        shown.show(<PluginModuleRef as StableAbi>::LAYOUT);
        shown
    }

    fn show(&mut self, layout: &'static TypeLayout) {
        for field in layout.phantom_fields().iter() {
            self.show(field.layout());
        }
        let is_ours = layout.package().as_str() == "plugin-api";
        let Some(fields) = layout.get_fields().filter(|_| is_ours) else { return };
        // The reference to a table has one field, its target.
        let kind = if layout.is_prefix_kind() { Kind::Table } else { Kind::Struct };
        if self.0.contains_key(layout.name()) {
            return;
        }
        self.0.insert(layout.name().into(), (kind, Vec::new()));
        let mut lines = Vec::new();
        for field in fields {
            let functions = field.function_range();
            if functions.is_empty() {
                lines.push(format!("{}: {}", field.name(), name(field.layout())));
                self.show(field.layout());
            }
            for function in functions.iter() {
                lines.push(format!("{}{}", field.name(), signature(&function)));
                function.param_type_layouts.iter().for_each(|layout| self.show(layout()));
            }
        }
        self.0.insert(layout.name().into(), (kind, lines));
    }

    fn text(&self) -> String {
        let block = |(name, (kind, lines)): (&String, &(Kind, Vec<String>))| {
            let kind = if *kind == Kind::Table { "table" } else { "struct" };
            let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
            format!("{kind} {name}\n{lines}")
        };
        self.0.iter().map(block).collect()
    }
}

/// abi_stable leaves gaps where something could stand.
fn name(layout: &'static TypeLayout) -> String {
    layout.full_type().to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn signature(function: &TLFunction) -> String {
    let names: &'static str = function.param_names.as_str();
    let names = names.split([',', ';']).filter(|name| !name.is_empty());
    let types = function.param_type_layouts.iter().map(|layout| name(layout()));
    let parameters: Vec<String> = names.zip(types).map(|(name, kind)| format!("{name}: {kind}")).collect();
    let result = function.return_type_layout().map(|layout| format!(" -> {}", name(layout())));
    format!("({}){}", parameters.join(", "), result.unwrap_or_default())
}

/// The blocks of a text such as [`Shown::text`] makes: a head, and its members.
fn blocks(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut blocks: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("  "), blocks.last_mut()) {
            (Some(member), Some((_, members))) => members.push(member),
            _ => blocks.push((line, Vec::new())),
        }
    }
    blocks
}

#[test]
fn what_was_tagged_is_still_there() {
    let (tagged, now) = (include_str!("../../../../plugin-api/abi-1.0.txt"), Shown::of_abi().text());
    let now = blocks(&now);
    assert_eq!(blocks(tagged).len(), 6, "two tables and four structs");
    for (head, members) in blocks(tagged) {
        let (_, mut lines) = now.iter().find(|(name, _)| *name == head).cloned().unwrap_or_default();
        if head.starts_with("table ") {
            lines.truncate(members.len());
        }
        assert_eq!(lines, members, "`{head}` is not what was tagged");
    }
}
