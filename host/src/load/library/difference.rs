//! What differs between two interfaces, in words that name the table or struct and its member. abi_stable has decided
//! already that they do not fit; its own report has hundreds of lines. Pure: reads layouts.

use std::collections::BTreeSet;

use abi_stable::type_layout::{TLField, TLFunction, TypeLayout};

/// How many differences are told: the others mostly follow from the first.
const TOLD_MAX: usize = 3;

/// The first differences between the gateway's layout and the plugin's, in one line.
pub(super) fn explain(ours: &'static TypeLayout, theirs: &'static TypeLayout) -> String {
    let mut differences = Differences::default();
    differences.types(ours, theirs, "the module");
    let Differences { mut told, ends, .. } = differences;
    if told.is_empty() {
        // Each is allowed by itself, but together they do not fit: one side would have to be the newer.
        told = ends;
    }
    if told.is_empty() {
        told.push("the layout of their types".into());
    }
    told.truncate(TOLD_MAX);
    told.join("; ")
}

#[derive(Default)]
struct Differences {
    told: Vec<String>,
    /// What only one side has at the end of its tables.
    ends: Vec<String>,
    /// Types compared already: they refer to one another.
    seen: BTreeSet<(String, &'static str)>,
}

impl Differences {
    /// Compares two types that should be the same; `at` says where they are used.
    fn types(&mut self, ours: &'static TypeLayout, theirs: &'static TypeLayout, at: &str) {
        let (our_name, their_name) = (ours.full_type().to_string(), theirs.full_type().to_string());
        if our_name != their_name {
            self.told.push(format!("{at} is `{their_name}`, the gateway's `{our_name}`"));
            return;
        }
        if !self.seen.insert((our_name, ours.package().as_str())) {
            return;
        }
        // What a reference refers to.
        for (ours, theirs) in ours.phantom_fields().iter().zip(theirs.phantom_fields().iter()) {
            self.types(ours.layout(), theirs.layout(), at);
        }
        let (Some(our_fields), Some(their_fields)) = (ours.get_fields(), theirs.get_fields()) else { return };
        let (our_fields, their_fields) = (Vec::from_iter(our_fields), Vec::from_iter(their_fields));
        self.members(&our_fields, &their_fields, ours);
        for our_field in &our_fields {
            if let Some(their_field) = named(&their_fields, our_field.name()) {
                self.field(our_field, their_field, ours.name());
            }
        }
    }

    /// Which members there are, and in which order.
    fn members(&mut self, ours: &[TLField], theirs: &[TLField], of: &'static TypeLayout) {
        let owner = of.name();
        let only_here = unknown(ours, theirs).map(|(at, name)| (at, format!("its `{owner}` lacks `{name}`")));
        let only_there = unknown(theirs, ours)
            .map(|(at, name)| (at, format!("its `{owner}` has `{name}`, the gateway's has not")));
        let mut same = true;
        for (place, difference) in only_here.chain(only_there) {
            same = false;
            match place {
                Place::End if of.is_prefix_kind() => self.ends.push(difference),
                Place::End | Place::Within => self.told.push(difference),
            }
        }
        if same && ours.iter().zip(theirs).any(|(ours, theirs)| ours.name() != theirs.name()) {
            self.told.push(format!("its `{owner}` has its members in another order"));
        }
    }

    fn field(&mut self, ours: &TLField, theirs: &TLField, owner: &str) {
        let at = format!("`{owner}.{}`", ours.name());
        let (our_functions, their_functions) = (ours.function_range(), theirs.function_range());
        for (ours, theirs) in our_functions.iter().zip(their_functions.iter()) {
            self.function(&ours, &theirs, &at);
        }
        if our_functions.is_empty() {
            self.types(ours.layout(), theirs.layout(), &at);
        }
    }

    fn function(&mut self, ours: &TLFunction, theirs: &TLFunction, at: &str) {
        let (our_names, their_names) = (parameters(ours), parameters(theirs));
        if our_names != their_names {
            let (ours, theirs) = (our_names.join(", "), their_names.join(", "));
            self.told.push(format!("its {at} takes ({theirs}), the gateway's ({ours})"));
            return;
        }
        for ((ours, theirs), name) in
            ours.param_type_layouts.iter().zip(theirs.param_type_layouts.iter()).zip(our_names)
        {
            self.types(ours(), theirs(), &format!("`{name}` of {at}"));
        }
        match (ours.return_type_layout(), theirs.return_type_layout()) {
            (Some(ours), Some(theirs)) => self.types(ours(), theirs(), &format!("the result of {at}")),
            (None, None) => {}
            (Some(_), None) => self.told.push(format!("its {at} answers nothing, the gateway's something")),
            (None, Some(_)) => self.told.push(format!("its {at} answers something, the gateway's nothing")),
        }
    }
}

/// Where a member stands that the other side does not know.
#[derive(Clone, Copy)]
enum Place {
    Within,
    /// After all that the other side knows: where tables grow.
    End,
}

/// The members of `fields` that `others` has not.
fn unknown<'a>(
    fields: &'a [TLField],
    others: &'a [TLField],
) -> impl Iterator<Item = (Place, &'static str)> + 'a {
    let is_known = |field: &TLField| named(others, field.name()).is_some();
    let end = fields.iter().rposition(is_known).map_or(0, |last| last + 1);
    let unknown = fields.iter().enumerate().filter(move |(_, field)| !is_known(field));
    unknown.map(move |(at, field)| (if at < end { Place::Within } else { Place::End }, field.name()))
}

fn parameters(function: &TLFunction) -> Vec<&'static str> {
    let names: &'static str = function.param_names.as_str();
    names.split([',', ';']).filter(|name| !name.is_empty()).collect()
}

fn named<'a>(fields: &'a [TLField], name: &str) -> Option<&'a TLField> {
    fields.iter().find(|field| field.name() == name)
}

#[cfg(test)]
mod tests {
    use abi_stable::StableAbi;

    use super::*;

    /// An interface of its own for each plugin, with the same names.
    macro_rules! interface {
        ($name:ident { $($function:tt)* } { $($member:tt)* }) => {
            mod $name {
                #![expect(dead_code, unreachable_pub, reason = "only the layouts are of interest")]
                use abi_stable::StableAbi;
                #[repr(C)]
                #[derive(StableAbi)]
                pub struct Event { pub size: u32, $($member)* }
                #[repr(C)]
                #[derive(StableAbi)]
                #[sabi(kind(Prefix(prefix_ref = TableRef, prefix_fields = TablePrefix)))]
                #[sabi(missing_field(panic))]
                pub struct Table {
                    pub first: extern "C" fn(context: *const u8, event: &mut Event) -> bool,
                    #[sabi(last_prefix_field)]
                    $($function)*
                }
            }
        };
    }
    interface!(ours { pub log: extern "C" fn(level: u32), } { pub data: u64, });
    interface!(newer { pub log: extern "C" fn(level: u32), pub flush: extern "C" fn(), } { pub data: u64, });
    interface!(replaced { pub put: extern "C" fn(), pub log: extern "C" fn(level: u32), } { pub data: u64, });
    interface!(renamed { pub lag: extern "C" fn(level: u32), } { pub data: u64, });
    interface!(narrower { pub log: extern "C" fn(level: u8), } { pub data: u64, });
    interface!(rearranged { pub log: extern "C" fn(text: u32), } { pub data: u64, });
    interface!(answers { pub log: extern "C" fn(level: u32) -> u32, } { pub data: u64, });
    interface!(larger { pub log: extern "C" fn(level: u32), } { pub data: u64, pub more: u8, });
    interface!(signed { pub log: extern "C" fn(level: u32), } { pub data: i64, });

    #[test]
    fn a_difference_names_what_a_person_can_look_for() {
        let check = |theirs: &'static TypeLayout, expected: &str| {
            assert_eq!(explain(ours::TableRef::LAYOUT, theirs), expected);
        };
        check(newer::TableRef::LAYOUT, "its `Table` has `flush`, the gateway's has not");
        check(
            renamed::TableRef::LAYOUT,
            "its `Table` lacks `log`; its `Table` has `lag`, the gateway's has not",
        );
        check(narrower::TableRef::LAYOUT, "`level` of `Table.log` is `u8`, the gateway's `u32`");
        check(rearranged::TableRef::LAYOUT, "its `Table.log` takes (text), the gateway's (level)");
        check(answers::TableRef::LAYOUT, "its `Table.log` answers something, the gateway's nothing");
        check(larger::TableRef::LAYOUT, "its `Event` has `more`, the gateway's has not");
        check(signed::TableRef::LAYOUT, "`Event.data` is `i64`, the gateway's `u64`");
        check(ours::TableRef::LAYOUT, "the layout of their types");
    }
}
