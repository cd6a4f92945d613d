//! Tests of `manifest`.

use super::*;

fn refused(tools: &str) -> String {
    let json = format!(r#"{{"name":"p","version":"1","tools":{tools}}}"#);
    crate::load::chain(&Manifest::parse(json.as_bytes()).expect_err("cannot be used"))
}

#[test]
fn a_manifest_that_cannot_be_served_is_refused_by_name() {
    let object = r#"{"type":"object"}"#;
    assert_eq!(
        refused(&format!(r#"[{{"name":"a b","inputSchema":{object}}}]"#)),
        "`a b` is not a tool name; use 1 to 128 letters, digits, `_`, `-` or `.`"
    );
    assert_eq!(
        refused(&format!(r#"[{{"name":"a","inputSchema":{object}}},{{"name":"a","inputSchema":{object}}}]"#)),
        "it has two tools named `a`"
    );
    assert_eq!(
        refused(r#"[{"name":"a","inputSchema":{}}]"#),
        "the input schema of tool `a` has to say `\"type\": \"object\"`"
    );
    assert_eq!(
        refused(r#"[{"name":"a"}]"#),
        "tool number 1 is not of the expected form: missing field `inputSchema`"
    );
    assert_eq!(
        crate::load::chain(&Manifest::parse(b"x").expect_err("not JSON")),
        "it is not of the expected form: expected value at line 1 column 1"
    );
}

fn told(members: &str) -> String {
    let json = format!(r#"{{"name":"p","version":"1",{members}}}"#);
    Manifest::parse(json.as_bytes()).map_or_else(|error| crate::load::chain(&error), |_| "good".into())
}

#[test]
fn lists_of_which_no_client_could_make_sense_are_refused_by_name() {
    let check = |members: &str, expected: &str| assert_eq!(told(members), expected, "{members}");
    check(r#""prompts":[{"name":"a"},{"name":"a"}]"#, "it has two prompts `a`");
    check(
        r#""prompts":[{"title":"a"}]"#,
        "prompt number 1 is not of the expected form: missing field `name`",
    );
    check(r#""prompts":[{"name":""}]"#, "`` cannot be the name of a prompt: it is empty");
    check(r#""resources":[{"uri":"test://a","name":"a"},{"uri":"x:b","name":"a"}]"#, "good");
    check(
        r#""resources":[{"uri":"test://a"}]"#,
        "resource number 1 is not of the expected form: missing field `name`",
    );
    check(r#""resources":[{"uri":"a","name":"a"}]"#, "`a` cannot be the uri of a resource: it has no scheme");
    let template =
        |template: &str| format!(r#""resourceTemplates":[{{"uriTemplate":"{template}","name":"a"}}]"#);
    let wrong =
        |text: &str, why: &str| format!("`{text}` cannot be the uriTemplate of a resource template: {why}");
    for good in ["test://{a}/{+b,c*}/d", "{?x:3}"] {
        check(&template(good), "good");
    }
    check(&template("t://{a"), &wrong("t://{a", "it has a `{` without its `}`"));
    check(&template("t://a}"), &wrong("t://a}", "it has a `}` without its `{`"));
    check(&template("t://{}"), &wrong("t://{}", "what stands between `{` and `}` is not a list of names"));
    check(
        r#""dynamic":["tools/call"]"#,
        "`tools/call` in `dynamic` is not a list; use tools/list, prompts/list, resources/list, \
         resources/templates/list",
    );
    let many = vec![r#"{"name":"a"}"#; 10_001].join(",");
    check(&format!(r#""prompts":[{many}]"#), "it has 10001 prompts, more than the 10000 that are read");
    check(
        r#""taskSupport":{"a":"sometimes"}"#,
        "it is not of the expected form: unknown variant `sometimes`, expected `optional` or `required` at line 1 \
         column 56",
    );
}

#[test]
fn everything_that_is_offered_is_kept() {
    let json = r#"{"name":"p","version":"1","capabilities":{"prompts":{}},"prompts":[{"name":"a","x":1}],
        "websiteUrl":"https://example.com","dynamic":["tools/list"],"taskSupport":{"t":"required"}}"#;
    let manifest = Manifest::parse(json.as_bytes()).expect("it can be served");
    assert!(manifest.is_dynamic("tools/list") && !manifest.is_dynamic("prompts/list"));
    assert_eq!(manifest.task_support["t"], TaskSupport::Required);
    assert_eq!(manifest.prompts[0]["x"], 1);
    assert_eq!(manifest.website_url.as_deref(), Some("https://example.com"));
}
