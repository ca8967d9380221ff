// Keeps the main part up to date while somebody looks at it and fills in no form. Without this
// script each page works all the same.
(() => {
  "use strict";
  const EVERY = 5000;
  const status = document.getElementById("live");
  let isBusy = false;

  const main = () => document.getElementById("main");
  const key = (node) => node.id || node.getAttribute("href") || "";

  function isInUse() {
    const focus = document.activeElement;
    const selection = getSelection();
    return (focus && focus.closest("form, dialog")) ||
      (selection && !selection.isCollapsed && main().contains(selection.anchorNode));
  }

  function say(text) {
    if (status.textContent !== text) status.textContent = text;
  }

  function replace(next) {
    const open = new Set();
    for (const node of main().querySelectorAll("details[id][open]")) open.add(node.id);
    const scrolled = [...main().querySelectorAll("[data-scroll]")].map((node) =>
      [node.id, node.scrollLeft, node.scrollTop]);
    const focus = main().contains(document.activeElement) ? key(document.activeElement) : "";
    for (const node of next.querySelectorAll("details[id]")) {
      if (document.getElementById(node.id)) node.open = open.has(node.id);
    }
    main().replaceWith(next);
    for (const [id, left, top] of scrolled) {
      const node = document.getElementById(id);
      if (node) node.scrollTo(left, top);
    }
    if (focus) {
      const same = [...next.querySelectorAll("a, summary, button, [tabindex]")];
      const node = same.find((one) => key(one) === focus);
      if (node) node.focus({ preventScroll: true });
    }
    enhance();
  }

  async function refresh() {
    if (isBusy || document.hidden || isInUse() || !main().hasAttribute("data-live")) return;
    isBusy = true;
    try {
      const response = await fetch(location.href, { credentials: "same-origin" });
      if (response.redirected) return location.reload();
      const text = await response.text();
      const page = new DOMParser().parseFromString(text, "text/html");
      const next = page.getElementById("main");
      if (!response.ok || !next) throw new Error("no page");
      if (!isInUse()) replace(document.adoptNode(next));
      say("live");
    } catch {
      say("not reached");
    } finally {
      isBusy = false;
    }
  }

  function enhance() {
    for (const button of document.querySelectorAll("[data-copy]")) {
      button.hidden = !navigator.clipboard;
    }
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const from = document.getElementById(button.dataset.copy);
    await navigator.clipboard.writeText(from.textContent);
    button.textContent = "Copied";
  });

  enhance();
  if (main().hasAttribute("data-live")) {
    say("live");
    setInterval(refresh, EVERY);
    document.addEventListener("visibilitychange", refresh);
  }
})();
