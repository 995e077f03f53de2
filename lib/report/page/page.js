// SPDX-License-Identifier: GPL-2.0
"use strict";
// Filters only: without a script the page shows everything.
document.documentElement.classList.add("scripted");
const at = (id) => document.getElementById(id);
const all = (what, root = document) => [...root.querySelectorAll(what)];

function filter(entries, words, looks) {
  for (const entry of entries) {
    const text = entry.dataset.text.toLowerCase();
    const match = words.every((word) => text.includes(word));
    entry.hidden = !match || (looks && entry.dataset.look !== looks);
  }
}
const words = (id) => at(id).value.toLowerCase().split(/\s+/).filter(Boolean);

function tests() {
  const wanted = words("find"), looks = at("looks").value;
  for (const module of all(".module")) {
    const entries = all(".test", module);
    filter(entries, wanted, looks);
    module.hidden = entries.every((entry) => entry.hidden);
    if (wanted.length || looks)
      for (const details of [module, ...all(".others", module)]) details.open = !module.hidden;
  }
}
function promises() {
  filter(all("#promises tr"), words("clause"), at("state").value);
}
for (const id of ["find", "looks"]) at(id).addEventListener("input", tests);
for (const id of ["clause", "state"]) at(id)?.addEventListener("input", promises);
at("open").addEventListener("click", () => {
  const modules = all(".module");
  const open = modules.some((module) => !module.open);
  for (const module of modules) module.open = open;
});
// A link to a test opens whatever it is in.
function target() {
  const found = at(location.hash.slice(1));
  for (let node = found; node; node = node.parentElement)
    if (node.tagName === "DETAILS") node.open = true;
  found?.scrollIntoView();
}
addEventListener("hashchange", target);
target();
