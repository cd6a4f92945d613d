/* The smallest library that vetting accepts: what the fuzzer begins with. */
__attribute__((section(".gateway.plugin"), used)) const char gateway_plugin_descriptor[] =
    "gateway-plugin 1\nname=seed\nversion=1.0.0\nplugin-api=1.0.0\npanic=unwind";
const long gateway_plugin_root[4] = {1, 2, 3, 4};
