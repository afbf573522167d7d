// The addresses of the API. A server may generate this file: see src/config.ts.
window.heliosConfig = {};
