// Puts what the pages use of npm's packages where Go embeds it. CI repeats it and compares.
import {readFileSync, writeFileSync, mkdirSync} from "node:fs";

const out = new URL("../internal/webui/static/vendor/", import.meta.url);
const uplot = new URL("node_modules/uplot/", import.meta.url);
const read = (base, name) => readFileSync(new URL(name, base), "utf8");
const {version, license} = JSON.parse(read(uplot, "package.json"));
const note = `/* uPlot ${version}, ${license} licence, https://github.com/leeoniya/uPlot; made by web/build.mjs */\n`;

mkdirSync(out, {recursive: true});
// The minified build is a script that sets a global; as a module it exports that instead.
writeFileSync(new URL("uplot.js", out), note + read(uplot, "dist/uPlot.iife.min.js").trimEnd() + "\nexport default uPlot;\n");
writeFileSync(new URL("uplot.css", out), note + read(uplot, "dist/uPlot.min.css").trimEnd() + "\n");
writeFileSync(new URL("uplot.LICENSE", out), read(uplot, "LICENSE"));
