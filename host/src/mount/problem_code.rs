//! What can go wrong at the HTTP side: one table of stable words, statuses and titles. Here and not in serve, because
//! the OpenAPI documents list exactly what serve sends.

use ProblemCode::*;

/// The stable word for what went wrong: `code` of every problem document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "`TABLE` below explains each code, to people and to programs")]
pub enum ProblemCode {
    MalformedJson,
    InvalidArguments,
    IncompleteBody,
    AmbiguousRequest,
    Unauthorized,
    Forbidden,
    OriginNotAllowed,
    HostNotAllowed,
    UnknownPath,
    UnknownServer,
    UnknownTool,
    MethodNotAllowed,
    BodyTimeout,
    ClientInputRequired,
    ReloadRefused,
    PayloadTooLarge,
    UnsupportedMediaType,
    ToolError,
    RateLimited,
    PluginPanicked,
    Internal,
    BadPluginResult,
    PluginError,
    PluginUnavailable,
    Overloaded,
    AuthUnavailable,
    AuditUnavailable,
    ToolTimeout,
}

/// Which requests can end this way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occurs {
    /// Any request.
    Anywhere,
    /// A tool call.
    InCalls,
    /// Anything below a server's prefix.
    AtServers,
    /// Where callers are asked who they are.
    WhereAsked,
    /// Only requests that no operation of the OpenAPI document describes.
    Elsewhere,
}

struct Row {
    code: ProblemCode,
    status: u16,
    occurs: Occurs,
    word: &'static str,
    title: &'static str,
    help: &'static str,
}

const fn row(code: ProblemCode, status: u16, occurs: Occurs, [word, title, help]: [&'static str; 3]) -> Row {
    Row { code, status, occurs, word, title, help }
}

#[rustfmt::skip]
const TABLE: [Row; 28] = [
    row(MalformedJson, 400, Occurs::InCalls, ["malformed_json", "Malformed JSON",
        "The body is not one JSON object. Send the tool's arguments as an object; `{}` if it takes none."]),
    row(InvalidArguments, 400, Occurs::InCalls, ["invalid_arguments", "Invalid arguments",
        "The arguments do not fit the tool's input schema; `errors` lists where (a JSON pointer) and why."]),
    row(IncompleteBody, 400, Occurs::InCalls, ["incomplete_body", "Incomplete request body",
        "The connection ended, or broke HTTP's framing, before the whole body had arrived."]),
    row(AmbiguousRequest, 400, Occurs::Elsewhere, ["ambiguous_request", "Ambiguous request",
        "The request can be read in two ways, and a proxy before the gateway may have read it in the other."]),
    row(Unauthorized, 401, Occurs::WhereAsked, ["unauthorized", "Authentication needed",
        "The request does not say who is calling, or not so that the gateway knows. `WWW-Authenticate` says what would do."]),
    row(Forbidden, 403, Occurs::WhereAsked, ["forbidden", "A scope is missing",
        "The caller is known, but may not do this; `needs` lists the scopes that it takes."]),
    row(OriginNotAllowed, 403, Occurs::Anywhere, ["origin_not_allowed", "Origin not allowed",
        "A web page of another origin sent the request. The operator lists origins in `[http] allowed_origins`."]),
    row(HostNotAllowed, 403, Occurs::Anywhere, ["host_not_allowed", "Host not allowed",
        "The request names a host that this gateway does not answer to. The operator lists names in `[http] allowed_hosts`."]),
    row(UnknownPath, 404, Occurs::Elsewhere, ["unknown_path", "Unknown path",
        "Nothing is served there; `available` lists what is."]),
    row(UnknownServer, 404, Occurs::Elsewhere, ["unknown_server", "Unknown server",
        "No server is mounted there; `available` lists the prefixes of those that are."]),
    row(UnknownTool, 404, Occurs::Elsewhere, ["unknown_tool", "Unknown tool",
        "The server has no tool of that name; `available` lists those that it has."]),
    row(MethodNotAllowed, 405, Occurs::Elsewhere, ["method_not_allowed", "Method not allowed",
        "The path exists but not for this method; the `Allow` header lists those it has."]),
    row(BodyTimeout, 408, Occurs::InCalls, ["body_timeout", "The request body took too long",
        "The body did not arrive in time. Send it at once."]),
    row(ClientInputRequired, 409, Occurs::InCalls, ["client_input_required", "The tool needs input from the client",
        "The tool asks its caller something while it runs. Only MCP clients can answer; call it over MCP."]),
    row(ReloadRefused, 409, Occurs::Elsewhere, ["reload_refused", "Not all of it can be served",
        "gateway.toml or a plugin on the disk cannot be served; `reload.refused` says why. What served before goes on."]),
    row(PayloadTooLarge, 413, Occurs::InCalls, ["payload_too_large", "Request body too large",
        "The body is larger than `[http] body_max_bytes` allows."]),
    row(UnsupportedMediaType, 415, Occurs::InCalls, ["unsupported_media_type", "Unsupported media type",
        "Tools take JSON. Send the header `content-type: application/json`."]),
    row(ToolError, 422, Occurs::InCalls, ["tool_error", "The tool reported an error",
        "The tool ran and says that it failed; `detail` has its words and `result` its whole result."]),
    row(RateLimited, 429, Occurs::InCalls, ["rate_limited", "Too many calls",
        "The calls of `limit` are used up. `Retry-After` says in how many seconds there is one again."]),
    row(PluginPanicked, 500, Occurs::InCalls, ["plugin_panicked", "The tool crashed",
        "The tool's code panicked on this call. Other calls are not affected; the log has the message."]),
    row(Internal, 500, Occurs::Anywhere, ["internal", "Internal error",
        "The gateway itself failed. The log has more under the same `request_id`."]),
    row(BadPluginResult, 502, Occurs::InCalls, ["bad_plugin_result", "The tool answered nonsense",
        "What the plugin answered is not a tool result, or lacks the structured content its schema promises."]),
    row(PluginError, 502, Occurs::InCalls, ["plugin_error", "The plugin answered with an error",
        "The plugin refused the request itself, rather than reporting a tool's error."]),
    row(PluginUnavailable, 503, Occurs::AtServers, ["plugin_unavailable", "The server is not available",
        "The server did not start or is quarantined, or the gateway is starting or stopping; `reason` says which. See `/servers`."]),
    row(Overloaded, 503, Occurs::Anywhere, ["overloaded", "The gateway is overloaded",
        "As much is under way as the operator allows. Nothing was done; try again after `Retry-After`."]),
    row(AuthUnavailable, 503, Occurs::WhereAsked, ["auth_unavailable", "Tokens cannot be checked",
        "The keys of the token's issuer cannot be had at the moment. The token may be good; try again."]),
    row(AuditUnavailable, 503, Occurs::InCalls, ["audit_unavailable", "The call cannot be recorded",
        "Every call has to be recorded, and that is not possible at the moment. Nothing was done; try again."]),
    row(ToolTimeout, 504, Occurs::InCalls, ["tool_timeout", "The tool took too long",
        "The tool did not answer within the server's `call_timeout`; the call was cancelled."]),
];

impl ProblemCode {
    /// Every code, by status.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.code)
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The code as it is sent, e.g. `unknown_tool`.
    pub fn as_str(self) -> &'static str {
        self.row().word
    }

    /// The HTTP status it always comes with.
    pub fn status(self) -> u16 {
        self.row().status
    }

    /// A short text, the same for every case.
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// What it means and what to do, the same for every case.
    pub fn help(self) -> &'static str {
        self.row().help
    }

    pub(super) fn occurs(self) -> Occurs {
        self.row().occurs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_the_codes_in_the_order_of_the_enum() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.code as usize, index, "{}", row.word);
        }
    }

    #[test]
    fn the_codes_are_those_of_the_contract() {
        let codes: Vec<_> = ProblemCode::all().map(|c| format!("{} {}", c.status(), c.as_str())).collect();
        assert_eq!(
            codes.join("\n"),
            "400 malformed_json\n400 invalid_arguments\n400 incomplete_body\n\
             400 ambiguous_request\n401 unauthorized\n403 forbidden\n403 origin_not_allowed\n\
             403 host_not_allowed\n404 unknown_path\n404 unknown_server\n404 unknown_tool\n\
             405 method_not_allowed\n408 body_timeout\n409 client_input_required\n409 reload_refused\n\
             413 payload_too_large\n\
             415 unsupported_media_type\n422 tool_error\n429 rate_limited\n500 plugin_panicked\n500 internal\n\
             502 bad_plugin_result\n502 plugin_error\n503 plugin_unavailable\n\
             503 overloaded\n503 auth_unavailable\n503 audit_unavailable\n504 tool_timeout"
        );
    }
}
