//! What makes a crate a plugin.

use abi_stable::prefix_type::PrefixRefTrait;
pub use abi_stable::{
    library::{CheckTypeLayout, LibHeader, RootModuleResult},
    prefix_type::WithMetadata,
    std_types::{ROk, RString, RVec},
};

use crate::abi::PluginModuleRef;

/// The module, as abi_stable's header wants it.
pub fn erased(module: PluginModuleRef) -> RootModuleResult {
    // SAFETY: the header beside it carries the layout of `PluginModuleRef`, which is what the pointer is; who
    // reads it checks that layout first.
    ROk(unsafe { module.to_prefix_ref().cast() })
}

/// Makes this crate, a `cdylib`, a plugin: `export_plugin!(setup);` where `setup` is a function (or closure
/// without captures) from the plugin's settings to a [`Plugin`](crate::Plugin):
///
/// ```text
/// fn plugin(settings: Settings) -> Result<Plugin> { … }
/// export_plugin!(plugin);
/// ```
///
/// The settings are any type with `Deserialize` and `JsonSchema`, [`NoSettings`](crate::NoSettings) if there are
/// none; the gateway checks `[server.settings]` against their schema first. `setup` only puts the plugin
/// together: without settings it is also run to describe the plugin, and its result dropped. What starts
/// something belongs into [`Plugin::on_start`](crate::Plugin::on_start).
#[macro_export]
macro_rules! export_plugin {
    ($setup:expr) => {
        const _: () = {
            use $crate::{abi, glue, glue::export};

            const PACKAGE: glue::Package =
                glue::Package { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };

            extern "C" fn describe(host: &abi::Host, out: &mut export::RVec<u8>) -> bool {
                glue::describe(host, PACKAGE, $setup, out)
            }
            extern "C" fn main(
                host: &abi::Host,
                start: &abi::Start<'_>,
                error: &mut export::RString,
            ) -> bool {
                glue::main(host, start, error, PACKAGE, $setup)
            }

            const MODULE: &export::WithMetadata<abi::PluginModule> =
                &export::WithMetadata::new(abi::PluginModule {
                    describe,
                    main,
                    reclaim: glue::hooks::reclaim,
                });
            extern "C" fn root() -> export::RootModuleResult {
                export::erased(abi::PluginModuleRef(MODULE.static_as_prefix()))
            }
            // SAFETY: `root` answers a module of exactly this type.
            #[unsafe(export_name = "gateway_plugin_root")]
            static ROOT: export::LibHeader = unsafe {
                export::LibHeader::from_constructor::<abi::PluginModuleRef>(
                    root,
                    export::CheckTypeLayout::Yes,
                )
            };

            const DESCRIPTOR: abi::Descriptor<'static> = abi::Descriptor {
                name: PACKAGE.name,
                version: PACKAGE.version,
                plugin_api: abi::VERSION,
                panic: if cfg!(panic = "unwind") { "unwind" } else { "abort" },
            };
            // Exported as a symbol too, or the linker would drop a section that nothing refers to.
            #[unsafe(export_name = "gateway_plugin_descriptor")]
            #[unsafe(link_section = ".gateway.plugin")]
            static SAID: [u8; DESCRIPTOR.encoded_len()] = DESCRIPTOR.bytes();
        };

        #[global_allocator]
        static GATEWAY_PLUGIN_HEAP: $crate::glue::heap::Heap = $crate::glue::heap::Heap;
        $crate::__plugin_hooks!();
    };
}
