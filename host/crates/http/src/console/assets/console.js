// What the console's pages do beyond HTML. Each part looks for its own elements and is quiet where there are none.

// `/` goes to the search, as in many tools.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.key !== "/") return;
  const target = event.target;
  if (target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))) return;
  const search = document.querySelector('[data-shortcut="/"]');
  if (search) {
    event.preventDefault();
    search.focus();
    search.select();
  }
});

// On a narrow screen the sections are one line that scrolls.
document.querySelector(".sections [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// Commands that can be copied.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      // Not allowed, or not over TLS: then it is marked, to be copied by hand.
      getSelection().selectAllChildren(button.previousElementSibling);
      button.textContent = "Press Ctrl-C";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}

// What must be asked again before it is done.
document.addEventListener("submit", (event) => {
  const question = event.target.dataset?.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

export const formKey = document.querySelector('meta[name="form-key"]')?.content ?? "";

// Asks for a piece of a page. The node has escaped all that is in it.
export async function piece(url, options = {}) {
  const headers = { "x-form-key": formKey, ...options.headers };
  const answer = await fetch(url, { ...options, headers });
  if (answer.redirected && new URL(answer.url).pathname.startsWith("/console/sign-in")) {
    location.assign(answer.url);
    return "";
  }
  return await answer.text();
}

export function failure(text) {
  const notice = document.createElement("div");
  notice.className = "notice bad";
  notice.setAttribute("role", "alert");
  notice.textContent = text;
  return notice;
}

// Files can be dropped where they can be picked.
for (const zone of document.querySelectorAll("[data-drop]")) {
  const input = document.getElementById(zone.dataset.drop);
  const over = (is) => zone.classList.toggle("over", is);
  zone.addEventListener("dragover", (event) => (event.preventDefault(), over(true)));
  zone.addEventListener("dragleave", () => over(false));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    if (event.dataTransfer.files.length > 0) {
      input.files = event.dataTransfer.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    }
  });
}

// An upload goes out as it is, and shows how far it is: `fetch` cannot tell that yet.
for (const form of document.querySelectorAll("form[data-upload]")) {
  const file = form.elements.file;
  const name = form.elements.name;
  const [progress, status, result] = ["progress", "[data-status]", "[data-result]"].map((s) => form.querySelector(s));
  file.addEventListener("change", () => {
    if (name.value === "" && file.files.length > 0 && form.dataset.then) {
      // A data file keeps its name, and its ending with it.
      name.value = file.files[0].name.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(-100);
    } else if (name.value === "" && file.files.length > 0) {
      const stem = file.files[0].name.replace(/\.[^.]*$/, "").toLowerCase();
      name.value = stem.replace(/[^a-z0-9]+/g, "-").replace(/^[^a-z]+|-+$/g, "").slice(0, 63);
    }
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const query = new URLSearchParams();
    if (form.elements["allow-new-imports"]?.checked) query.set("allow-new-imports", "true");
    if (form.elements.device) query.set("device", form.elements.device.value);
    const request = new XMLHttpRequest();
    request.open("POST", `${form.dataset.upload}/${encodeURIComponent(name.value)}/upload?${query}`);
    request.setRequestHeader("x-form-key", formKey);
    const button = form.querySelector("button[type=submit]");
    const busy = (is) => {
      button.disabled = is;
      progress.parentElement.hidden = !is;
    };
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      progress.value = loaded / total;
      status.textContent = loaded < total ? `${Math.round((100 * loaded) / total)} %` : "The node is checking it …";
    });
    request.addEventListener("load", () => {
      busy(false);
      if (request.responseURL.includes("/console/sign-in")) return location.assign(request.responseURL);
      if (request.status === 200 || request.status === 201) {
        if (form.dataset.then) return location.assign(form.dataset.then);
        const version = JSON.parse(request.responseText);
        return location.assign(`/console/${version.kind}s/${version.name}`);
      }
      if (request.status === 202) return location.assign(`/console/uploads/${JSON.parse(request.responseText).id}`);
      result.innerHTML = request.responseText;
    });
    request.addEventListener("error", () => {
      busy(false);
      result.replaceChildren(failure("The connection broke off. Try again."));
    });
    busy(true);
    progress.value = 0;
    status.textContent = "";
    result.replaceChildren();
    request.send(file.files[0]);
  });
}

// A part of the page that is asked for again until it has ended. That does not keep the session alive.
for (const part of document.querySelectorAll("[data-poll]")) {
  const again = async () => {
    try {
      part.innerHTML = await piece(part.dataset.poll, { headers: { "x-looks-again": "1" } });
    } catch {
      // The node may be restarting: it is asked again.
    }
    const ended = part.querySelector("[data-ended]");
    if (ended?.dataset.go) return location.assign(ended.dataset.go);
    if (!ended) setTimeout(again, 1000);
  };
  if (!part.querySelector("[data-ended]")) setTimeout(again, 1000);
}

// Figures that are looked at again while the page is seen.
for (const part of document.querySelectorAll("[data-refresh]")) {
  setInterval(async () => {
    if (document.hidden || part.matches(":hover") || part.contains(document.activeElement)) return;
    try {
      part.innerHTML = await piece(part.dataset.refresh, { headers: { "x-looks-again": "1" } });
    } catch {
      // Next time.
    }
  }, 3000);
}

// A slider says where it is.
for (const slider of document.querySelectorAll("[data-slider]")) {
  const output = slider.closest(".field").querySelector("output");
  slider.addEventListener("input", () => (output.textContent = `${slider.value} %`));
}

// Pieces that the node sends as they come: a line goes behind the others, a whole takes the place of what was there.
for (const part of document.querySelectorAll("[data-stream]")) {
  const MOST = 1000;
  const state = part.parentElement.querySelector("[data-stream-state]");
  const says = (text) => state && (state.textContent = text);
  let last = part.dataset.last ?? "";
  let source = null;
  let ended = false;
  const close = () => {
    source?.close();
    source = null;
  };
  const open = () => {
    const url = new URL(part.dataset.stream, location.href);
    if (last !== "") url.searchParams.set("after", last);
    source = new EventSource(url);
    source.addEventListener("open", () => says("Following: what is new stands here at once."));
    source.addEventListener("line", ({ data, lastEventId }) => {
      const atEnd = part.scrollHeight - part.scrollTop - part.clientHeight < 40;
      if (lastEventId !== "") last = lastEventId;
      part.insertAdjacentHTML("beforeend", data);
      while (part.childElementCount > MOST) part.firstElementChild.remove();
      if (atEnd) part.scrollTop = part.scrollHeight;
    });
    source.addEventListener("whole", ({ data }) => (part.innerHTML = data));
    source.addEventListener("last", ({ data }) => {
      part.innerHTML = data;
      ended = true;
      says("");
      close();
    });
    source.addEventListener("error", async () => {
      if (source?.readyState !== EventSource.CLOSED) return says("The connection broke off; it is made anew …");
      close();
      says("Nothing new comes any more. Reload the page to go on.");
      // A session that has ended leads to the way in.
      await piece(location.href, { headers: { "x-looks-again": "1" } }).catch(() => {});
    });
  };
  // Without HTTP/2 a browser has six connections to a node: pages that nobody sees leave theirs to the others.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else if (source === null && !ended) open();
  });
  part.scrollTop = part.scrollHeight;
  open();
}
