// Reads CloudEvents as a JSON array from standard input, and writes what the npm SDK sends for each of them.
// Runs in the folder whose node_modules has the SDK.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { CloudEvent, HTTP } = createRequire(`${process.cwd()}/package.json`)("cloudevents");

const sent = JSON.parse(readFileSync(0, "utf8")).map((attributes) => {
  const event = new CloudEvent(attributes);
  return { structured: HTTP.structured(event), binary: HTTP.binary(event) };
});
process.stdout.write(JSON.stringify(sent));
