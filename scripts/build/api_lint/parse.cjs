// Reads AsyncAPI documents by AsyncAPI's own parser: node parse.cjs FILE... Every finding fails, also a hint.
const { readFileSync } = require("node:fs")
const { Parser } = require("@asyncapi/parser")

async function check(file) {
  const { document, diagnostics } = await new Parser().parse(readFileSync(file, "utf8"))
  for (const { code, message, path } of diagnostics) {
    console.log(`${file} ${path.join(".")}: ${message} (${code})`)
  }
  if (!document || diagnostics.length > 0) {
    process.exitCode = 1
  }
}

Promise.all(process.argv.slice(2).map(check))
