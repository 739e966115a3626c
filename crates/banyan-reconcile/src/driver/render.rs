//! A command and its environment from their templates: pure. What comes out holds secrets and goes to a child only.

use std::collections::BTreeMap;
use std::path::Path;

use banyan_config::{AppName, DatabaseAddress, Placeholder, RenderError, Secrets};
use banyan_topology::model::Launch;
use banyan_topology::{InstanceId, ReleaseId};

/// What a child is called, in its environment and its templates.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) process: String,
    /// `web.1`
    pub(super) instance: String,
    pub(super) release: ReleaseId,
    pub(super) port: u16,
}

impl Names {
    pub(super) fn instance(id: &InstanceId, port: u16) -> Self {
        Self {
            process: id.process.to_string(),
            instance: format!("{}.{}", id.process, id.slot),
            release: id.release,
            port,
        }
    }

    pub(super) fn release(release: ReleaseId) -> Self {
        Self {
            process: "release".to_owned(),
            instance: "release".to_owned(),
            release,
            port: 0,
        }
    }

    /// What every child of the app is given.
    pub(super) fn env(&self, app: &AppName, data: &Path) -> BTreeMap<String, String> {
        let mut env = BTreeMap::from([
            ("BANYAN_APP", app.to_string()),
            ("BANYAN_PROCESS", self.process.clone()),
            ("BANYAN_INSTANCE", self.instance.clone()),
            ("BANYAN_RELEASE", self.release.to_string()),
            ("BANYAN_DATA_DIR", data.to_string_lossy().into_owned()),
        ]);
        if self.port != 0 {
            env.insert("PORT", self.port.to_string());
            env.insert("HOST", "127.0.0.1".to_owned());
        }
        env.into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

pub(super) struct Rendered {
    pub(super) argv: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
}

/// `env`: what is there before the release's own entries.
pub(super) fn render(
    launch: &Launch,
    mut env: BTreeMap<String, String>,
    names: &Names,
    database: Option<&DatabaseAddress>,
    secrets: &Secrets,
    data: &Path,
) -> Result<Rendered, RenderError> {
    let value = |placeholder: &Placeholder| match placeholder {
        Placeholder::Host => Some("127.0.0.1".to_owned()),
        Placeholder::Port => (names.port != 0).then(|| names.port.to_string()),
        Placeholder::Process => Some(names.process.clone()),
        Placeholder::Instance => Some(names.instance.clone()),
        Placeholder::Release => Some(names.release.0.to_string()),
        Placeholder::Data => Some(data.to_string_lossy().into_owned()),
        Placeholder::Secret(name) => Some(secrets.get(name)?.expose().to_owned()),
        database_part => database?.value(database_part),
    };
    for (name, template) in &launch.env {
        env.insert(name.clone(), template.render(&value)?);
    }
    let variable = |name: &str| env.get(name).cloned();
    let argv = launch
        .argv
        .iter()
        .map(|argument| argument.render_argument(&value, &variable));
    Ok(Rendered {
        argv: argv.collect::<Result<_, _>>()?,
        env,
    })
}

#[cfg(test)]
mod tests {
    use banyan_config::Template;

    use super::*;

    #[test]
    fn a_command_sees_its_port_and_environment_and_only_its_own_text_is_expanded() {
        let launch = Launch {
            argv: ["serve", "--port=$PORT", "{{instance}}", "$GREETING"]
                .map(Template::literal)
                .to_vec(),
            env: [("GREETING".to_owned(), Template::literal("costs $5 at {{port}}"))].into(),
        };
        let names = Names::instance(&"web.2@r7".parse().unwrap(), 20_001);
        let env = names.env(&"photos".parse().unwrap(), Path::new("/srv/data"));
        let rendered = render(
            &launch,
            env,
            &names,
            None,
            &Secrets::default(),
            Path::new("/srv/data"),
        )
        .unwrap();
        assert_eq!(
            rendered.argv,
            ["serve", "--port=20001", "web.2", "costs $5 at 20001"]
        );
        let shown: Vec<String> = rendered
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        expect_test::expect![[r#"
            BANYAN_APP=photos
            BANYAN_DATA_DIR=/srv/data
            BANYAN_INSTANCE=web.2
            BANYAN_PROCESS=web
            BANYAN_RELEASE=r7
            GREETING=costs $5 at 20001
            HOST=127.0.0.1
            PORT=20001"#]]
        .assert_eq(&shown.join("\n"));
    }

    #[test]
    fn a_placeholder_without_a_value_is_an_error_and_not_an_empty_text() {
        let launch = Launch {
            argv: vec![Template::literal("{{database.url}}")],
            env: BTreeMap::new(),
        };
        let names = Names::release(ReleaseId(1));
        let rendered = render(
            &launch,
            BTreeMap::new(),
            &names,
            None,
            &Secrets::default(),
            Path::new("/"),
        );
        assert_eq!(
            rendered.err().unwrap().to_string(),
            "`{{database.url}}` has no value here"
        );
    }
}
