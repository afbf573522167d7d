// Where the API is. A server may answer this path with other addresses: see src/config.ts.
window.heliosConfig = {};
