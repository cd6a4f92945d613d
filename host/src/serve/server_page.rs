//! What a GET on a server's prefix shows: what this is, which tools it has, and how to connect a client; to a browser as
//! a page, to everybody else the same facts as JSON.

use std::fmt::Write;

use axum::response::Response;
use serde_json::{Value, json};

use super::{
    body,
    html::{self, Escaped},
    snippet::{self, Shows},
};
use crate::{
    load::ToolSpec,
    mount::{Failure, Mount},
};

/// The facts of one server.
struct Facts<'a> {
    name: &'a str,
    title: Option<&'a str>,
    version: &'a str,
    instructions: Option<&'a str>,
    base: &'a str,
    prefix: &'a str,
    tools: Vec<&'a ToolSpec>,
    failure: Option<Failure>,
    shows: Shows,
}

/// `base` is how this client reaches the gateway, without a slash at its end.
fn facts<'a>(mount: &'a Mount, base: &'a str, shows: Shows) -> Facts<'a> {
    let (entry, manifest) = (mount.instance.entry(), &mount.manifest);
    Facts {
        name: entry.name.as_str(),
        title: manifest.title.as_deref(),
        version: &manifest.version,
        instructions: manifest.instructions.as_deref(),
        base,
        prefix: entry.prefix.as_str(),
        tools: mount.tools.iter().map(|tool| &tool.spec).collect(),
        failure: mount.failure(),
        shows,
    }
}

/// The server as JSON.
pub(super) fn json(mount: &Mount, base: &str, shows: Shows) -> Response {
    body::json(facts(mount, base, shows).json().to_string())
}

/// The server as a page.
pub(super) fn html(mount: &Mount, base: &str, shows: Shows) -> Response {
    let facts = facts(mount, base, shows);
    html::page(&format!("{} · MCP server", facts.title.unwrap_or(facts.name)), &facts.html())
}

impl Facts<'_> {
    fn endpoint(&self) -> String {
        format!("{}{}/mcp", self.base, self.prefix)
    }

    fn json(&self) -> Value {
        let tools = self.tools.iter().map(|tool| {
            json!({
                "name": tool.name,
                "title": tool.title,
                "description": tool.description,
                "url": format!("{}{}/tools/{}", self.base, self.prefix, tool.name),
            })
        });
        let mut json = json!({
            "server": self.name,
            "title": self.title,
            "version": self.version,
            "instructions": self.instructions,
            "mcp": self.endpoint(),
            "tools": tools.collect::<Vec<_>>(),
            "openapi": format!("{}{}/openapi.json", self.base, self.prefix),
        });
        if let Some(failure) = &self.failure {
            json["state"] = failure.state().into();
            json["reason"] = failure.reason.as_str().into();
        }
        json
    }

    fn html(&self) -> String {
        let mut page = String::new();
        // Writing into a `String` cannot fail.
        let _ = self.write_html(&mut page);
        page
    }

    fn write_html(&self, page: &mut String) -> std::fmt::Result {
        let (name, endpoint) = (Escaped(self.title.unwrap_or(self.name)), self.endpoint());
        writeln!(page, "<h1>{name}</h1>")?;
        writeln!(
            page,
            "<p>This is an MCP server, version {}. Its endpoint is <code>{}</code>; programs that do not speak MCP \
             call its tools over plain HTTP.</p>",
            Escaped(self.version),
            Escaped(&endpoint)
        )?;
        if let Some(failure) = &self.failure {
            let (state, reason) = (failure.state(), Escaped(&failure.reason));
            writeln!(page, "<p><strong>Not serving: {state}</strong>, {reason}.</p>")?;
        }
        if let Some(text) = self.instructions {
            writeln!(page, "<p>{}</p>", Escaped(text))?;
        }
        writeln!(page, "<h2>Tools</h2>\n<dl>")?;
        for tool in &self.tools {
            write!(page, "<dt><code>{}</code>", Escaped(&tool.name))?;
            if let Some(title) = &tool.title {
                write!(page, " {}", Escaped(title))?;
            }
            writeln!(page, "</dt><dd>{}</dd>", Escaped(tool.description.as_deref().unwrap_or_default()))?;
        }
        writeln!(page, "</dl>\n<h2>Connect</h2>")?;
        for (client, place, text) in snippet::connect(self.name, &endpoint, self.shows) {
            writeln!(page, "<h3>{client}</h3>\n<p>{place}:</p>\n<pre>{}</pre>", Escaped(&text))?;
        }
        if let Some(tool) = self.tools.first() {
            let line = snippet::curl_line(self.base, self.prefix, tool, self.shows);
            writeln!(page, "<h3>curl</h3>\n<pre>{}</pre>", Escaped(&line))?;
        }
        writeln!(
            page,
            "<p><a href=\"{0}/tools\">Tools as JSON</a> · <a href=\"{0}/openapi.json\">OpenAPI</a> · \
             <a href=\"/docs\">API docs</a> · <a href=\"/\">All servers</a></p>",
            Escaped(self.prefix)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(test: impl Fn(Facts<'_>)) {
        let tool = ToolSpec {
            name: "echoHai".into(),
            title: Some("Say <hai>".into()),
            description: Some("Greets & <script>alert(1)</script>".into()),
            input_schema: serde_json::Map::new(),
            output_schema: None,
            annotations: None,
            wire: serde_json::Map::new(),
        };
        test(Facts {
            name: "greet",
            title: None,
            version: "1.0.0",
            instructions: Some("Be \"kind\"."),
            base: "http://localhost:8000",
            prefix: "/greet",
            tools: vec![&tool],
            failure: None,
            shows: Shows::Nothing,
        });
    }

    #[test]
    fn the_page_names_tools_and_clients_and_escapes_what_plugins_say() {
        check(|facts| {
            let page = facts.html();
            assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(1)"), "{page}");
            assert!(
                page.contains("claude mcp add --transport http greet http://localhost:8000/greet/mcp"),
                "{page}"
            );
            assert!(page.contains("curl -s http://localhost:8000/greet/tools/echoHai"), "{page}");
            assert!(page.contains("VS Code") && page.contains("Cursor"), "{page}");
        });
    }

    #[test]
    fn json_has_the_same_facts() {
        check(|facts| {
            let json = facts.json();
            assert_eq!(json["mcp"], "http://localhost:8000/greet/mcp");
            assert_eq!(json["tools"][0]["url"], "http://localhost:8000/greet/tools/echoHai");
            assert_eq!(json["instructions"], "Be \"kind\".");
        });
    }
}
