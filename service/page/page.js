"use strict";

// What pages do more with a script. Everything here can be left out.

// A link with the token after the # signs in: what is after it is sent to nobody.
const token = document.querySelector("input[name=token]");
if (token && location.hash.startsWith("#stegomq_")) {
  token.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname + location.search);
  token.form.requestSubmit();
}

// Parts that say what they are about are kept as they are now: the page is asked for again, and what changed takes the place of the old.
let asking = false, again = false;
async function refresh() {
  if (asking) { again = true; return; }
  asking = true;
  try {
    const address = location.href;
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    if (answer.redirected) { location.reload(); return; }
    const text = await answer.text();
    if (address !== location.href) again = true; // the gain was moved meanwhile
    else if (answer.ok) {
      const now = new DOMParser().parseFromString(text, "text/html");
      for (const old of document.querySelectorAll("[data-live]")) {
        const fresh = now.getElementById(old.id);
        // Nobody loses the place where they type or are about to press.
        if (fresh && !old.contains(document.activeElement) && !old.isEqualNode(fresh)) old.replaceWith(document.importNode(fresh, true));
      }
    }
  } catch { /* The next event asks again. */ } finally {
    asking = false;
    if (again) { again = false; setTimeout(refresh, 300); }
  }
}

const kinds = new Set([...document.querySelectorAll("[data-live]")].flatMap(part => part.dataset.live.split(" ")));
if (kinds.has("tick")) setInterval(() => { if (!document.hidden) refresh(); }, 3000);
if (kinds.has("run") || kinds.has("dead_letter")) {
  const events = new EventSource("/events");
  for (const kind of [...kinds, "reset"]) events.addEventListener(kind, refresh);
  // What happened between the page and its stream is asked for once the stream is there.
  events.addEventListener("ready", () => { refresh(); document.documentElement.dataset.events = "ready"; });
  addEventListener("pagehide", () => events.close());
}

// What follows listens at the document, since parts of pages are replaced.
document.documentElement.classList.add("script");
const on = (kind, selector, what) => document.addEventListener(kind, event => {
  const found = event.target.closest(selector);
  if (found) what(found, event);
});

// The gain of residuals.
on("input", "input[data-gain]", slider => { slider.form.querySelector("output").value = "× " + slider.value; });
on("change", "input[data-gain]", slider => {
  const here = new URL(location.href);
  here.searchParams.set("gain", slider.value);
  history.replaceState(null, "", here);
  for (const image of document.querySelectorAll("img[data-residual]")) {
    const address = new URL(image.src);
    address.searchParams.set("gain", slider.value);
    image.src = image.parentElement.href = address.href;
  }
});
on("submit", "form.slider", (form, event) => event.preventDefault());

// An image that is chosen is shown, and takes the place of the sample.
on("change", "input[type=file]", input => {
  const preview = document.getElementById(input.dataset.preview), file = input.files[0];
  if (preview.src.startsWith("blob:")) URL.revokeObjectURL(preview.src);
  preview.hidden = !file;
  if (file) preview.src = URL.createObjectURL(file);
});

// Who has sent a form sees that it works on it, and does not send it twice.
on("submit", "form[data-busy]", form => {
  form.querySelector("[role=status]").textContent = form.dataset.busy;
  setTimeout(() => { form.querySelector("button[type=submit]").disabled = true; });
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-busy]")) {
    form.querySelector("button[type=submit]").disabled = false;
    form.querySelector("[role=status]").textContent = "";
  }
});

on("click", "button[data-sure]", (button, event) => { if (!confirm(button.dataset.sure)) event.preventDefault(); });
