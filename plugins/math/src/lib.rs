//! A little arithmetic: tools with several arguments, and one that can fail in an ordinary way.
#![forbid(unsafe_code)]

use plugin_api::prelude::*;

/// Two numbers.
#[derive(Deserialize, JsonSchema)]
struct Numbers {
    /// The first number.
    a: f64,
    /// The second number.
    b: f64,
}

async fn add(_: Ctx, Numbers { a, b }: Numbers) -> Result<f64> {
    finite(a + b)
}

async fn divide(_: Ctx, Numbers { a, b }: Numbers) -> Result<f64> {
    if b == 0.0 {
        return Err(Error::new(format!("cannot divide {a} by zero")));
    }
    finite(a / b)
}

/// JSON has no infinity.
fn finite(number: f64) -> Result<f64> {
    if number.is_finite() { Ok(number) } else { Err(Error::new("the result is too large for a number")) }
}

fn plugin(_: NoSettings) -> Result<Plugin> {
    let add = Tool::new("add", "Adds two numbers.", add).title("Add");
    let divide = Tool::new("divide", "Divides the first number by the second.", divide).title("Divide");
    Ok(Plugin::new()
        .title("Arithmetic")
        .instructions("Use these tools instead of calculating yourself.")
        .with_tool(add.read_only().idempotent().closed_world())
        .with_tool(divide.read_only().idempotent().closed_world()))
}

export_plugin!(plugin);

#[cfg(test)]
mod tests {
    use plugin_api::{serde_json::json, testing::TestServer};

    use super::*;

    #[test]
    fn adds_and_divides() {
        let math = TestServer::start(plugin(NoSettings {}).expect("builds"));
        assert_eq!(math.call("add", json!({ "a": 2, "b": 3 })).value(), json!(5.0));
        assert_eq!(math.call("divide", json!({ "a": 1, "b": 4 })).value(), json!(0.25));
    }

    /// This crate's tests link what `export_plugin!` defines, libc's functions as the plugin sees them included.
    #[test]
    fn threads_and_keys_work_where_the_hooks_are_linked() {
        thread_local!(static NAME: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) });
        let named = std::thread::spawn(|| {
            NAME.with_borrow_mut(|name| {
                name.push_str("a thread-local with a destructor");
                name.len()
            })
        });
        assert_eq!(named.join().expect("it does not panic"), 32);
    }

    #[test]
    fn what_cannot_be_calculated_is_a_tool_error() {
        let math = TestServer::start(plugin(NoSettings {}).expect("builds"));
        let by_zero = math.call("divide", json!({ "a": 1, "b": 0 }));
        assert_eq!(by_zero.tool_error().as_deref(), Some("cannot divide 1 by zero"));
        let too_large = math.call("add", json!({ "a": 1.7e308, "b": 1.7e308 }));
        assert_eq!(too_large.tool_error().as_deref(), Some("the result is too large for a number"));
    }
}
