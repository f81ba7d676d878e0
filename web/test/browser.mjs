// What the tests of the pages share: Debian's Chromium, and a page whose console and
// requests are watched.
import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import {chromium} from "playwright-core";

export const launch = () => chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  // As root there is no sandbox; without the others it looks for Google's hosts.
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

// open opens url in a new context. close() of what it returns checks that nothing was
// complained of in the console and nothing was asked for elsewhere.
export async function open(browser, url, options = {}) {
  const context = await browser.newContext({viewport: {width: 1280, height: 900}, reducedMotion: "reduce", ...options});
  context.setDefaultTimeout(120000); // the machine may be busy
  const page = await context.newPage();
  const complaints = [], expected = options.expected || [];
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) complaints.push(m.text()); });
  page.on("pageerror", (e) => complaints.push(`uncaught: ${e.message}`));
  page.on("request", (r) => { if (!r.url().startsWith(url)) complaints.push(`asks for ${r.url()}`); });
  await page.goto(url);
  await page.locator("#link.good").waitFor();
  return {page, async close() {
    await context.close();
    const left = complaints.filter((c) => !expected.some((e) => c.includes(e)));
    assert.deepEqual(left, []);
  }};
}

const axe = readFileSync(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

// accessible has axe judge the page by WCAG 2.2 A and AA and its best practices.
export async function accessible(page) {
  await page.evaluate(axe); // by the debugger, which the policy of the page does not bind
  const {violations} = await page.evaluate(() => globalThis.axe.run());
  assert.deepEqual(violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => `${n.target} ${n.failureSummary}`).join("; ")}`), []);
}

// fits checks that nothing is wider than the window.
export async function fits(page) {
  const [have, want, wide] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth,
    [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth).map((e) => `${e.tagName} ${e.id || e.className}`)]);
  assert.ok(have <= want, `the page is ${have} px wide in a window of ${want} px: ${wide}`);
}

// guarded checks that a page has nothing inline, may be in no frame, and that its policy holds.
export async function guarded(browser, url) {
  const r = await fetch(url);
  const policy = r.headers.get("content-security-policy");
  for (const want of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]) assert.ok(policy.includes(want), policy);
  assert.ok(!policy.includes("unsafe"), policy);
  const html = await r.text();
  assert.ok(!/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=/i.test(html), "the page has something inline");
  const {page, close} = await open(browser, url, {expected: ["Content Security Policy"]});
  await page.evaluate(() => { const s = document.createElement("script"); s.textContent = "globalThis.injected = true"; document.body.append(s); });
  assert.equal(await page.evaluate(() => globalThis.injected), undefined);
  await close();
}
