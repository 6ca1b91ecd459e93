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
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.redirected) { location.reload(); return; }
    if (answer.ok) {
      const now = new DOMParser().parseFromString(await answer.text(), "text/html");
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

// The gain of residuals.
for (const slider of document.querySelectorAll("input[data-gain]")) {
  const show = () => { slider.form.querySelector("output").value = "× " + slider.value; };
  slider.addEventListener("input", show);
  slider.addEventListener("change", () => {
    show();
    for (const image of document.querySelectorAll("img[data-residual]")) {
      const address = new URL(image.src);
      address.searchParams.set("gain", slider.value);
      image.src = address.href;
    }
  });
  slider.form.addEventListener("submit", event => event.preventDefault());
  slider.form.querySelector("button").hidden = true;
}

// An image that is chosen is shown, and takes the place of the sample.
for (const input of document.querySelectorAll("input[type=file]")) {
  const preview = document.getElementById(input.dataset.preview);
  input.addEventListener("change", () => {
    const file = input.files[0];
    if (preview.src.startsWith("blob:")) URL.revokeObjectURL(preview.src);
    preview.hidden = !file;
    if (file) preview.src = URL.createObjectURL(file);
  });
}

// Who has sent a form sees that it works on it, and does not send it twice.
for (const form of document.querySelectorAll("form[data-busy]")) {
  form.addEventListener("submit", () => {
    const button = form.querySelector("button[type=submit]");
    form.querySelector("[role=status]").textContent = form.dataset.busy;
    setTimeout(() => { button.disabled = true; });
  });
}
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-busy]")) {
    form.querySelector("button[type=submit]").disabled = false;
    form.querySelector("[role=status]").textContent = "";
  }
});

for (const button of document.querySelectorAll("button[data-sure]")) {
  button.addEventListener("click", event => { if (!confirm(button.dataset.sure)) event.preventDefault(); });
}
