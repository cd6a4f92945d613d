//! What a server offers beside tools, as both eras list and read it.

use anyhow::{Context, Result};
use rmcp::{
    model::{ErrorCode, GetPromptRequestParams, PaginatedRequestParams, ReadResourceRequestParams},
    service::ServiceError,
};
use tests::Gateway;

use super::{client, legacy, modern};

fn code<T>(result: std::result::Result<T, ServiceError>) -> Option<ErrorCode> {
    match result.err()? {
        ServiceError::McpError(error) => Some(error.code),
        _ => None,
    }
}

#[tokio::test]
async fn what_is_listed_can_be_read_in_both_eras() -> Result<()> {
    let gateway = Gateway::start(&["everything"]).await;
    let eras = [(legacy(), ErrorCode::RESOURCE_NOT_FOUND), (modern(), ErrorCode::INVALID_PARAMS)];
    for (era, not_found) in eras {
        let client = client(gateway.url("/everything"), era).await?;
        let prompts = client.list_all_prompts().await?;
        assert!(prompts.iter().any(|prompt| prompt.name == "test_simple_prompt"));
        let prompt = client.get_prompt(GetPromptRequestParams::new("test_simple_prompt")).await?;
        assert!(!prompt.messages.is_empty());
        let resource = client.list_all_resources().await?.into_iter().next().context("a resource")?;
        let read = client.read_resource(ReadResourceRequestParams::new(resource.uri.clone())).await?;
        assert!(!read.contents.is_empty());
        assert!(!client.list_all_resource_templates().await?.is_empty());

        let read = client.read_resource(ReadResourceRequestParams::new("test://nothing")).await;
        assert_eq!(code(read), Some(not_found));
        let cursor = || Some(PaginatedRequestParams::default().with_cursor(Some("another server's".into())));
        assert_eq!(code(client.list_tools(cursor()).await), Some(ErrorCode::INVALID_PARAMS));
        assert_eq!(code(client.list_resources(cursor()).await), Some(ErrorCode::INVALID_PARAMS));
        client.cancel().await?;
    }
    Ok(())
}
