//! A skill: a folder of files, given as they lie beside the source.

use plugin_api::prelude::*;

pub(crate) fn add(plugin: Plugin) -> Result<Plugin> {
    let greet = Skill::new("skill://greet", include_str!("../skill/SKILL.md"))?;
    Ok(plugin.skill(greet.file("extra/hello.txt", include_bytes!("../skill/extra/hello.txt"))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::tests::server;

    #[test]
    fn the_skill_is_listed_with_all_its_files_and_they_are_read() {
        let server = server();
        let listed = server.request("skills/list", json!({})).result()["skills"][0].clone();
        assert_eq!(
            listed["frontmatter"],
            json!({ "name": "greet", "description": "How to greet people well" })
        );
        for file in listed["resources"].as_array().expect("files") {
            let text = server.read(file["uri"].as_str().expect("a URI")).text();
            assert_eq!(file["size"], text.len(), "{file}");
        }
        let folder = server.request("resources/directory/read", json!({ "uri": "skill://greet" }));
        assert_eq!(folder.result()["resources"][1]["name"], "extra");
    }
}
