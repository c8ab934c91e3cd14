// Parts of a page that renew themselves, and searching while typing. Everything works without.
//
// <form data-search="#id">      what is typed or chosen shows its results in #id, and the address
//                               says so
// <div id=… data-live="2000">   fetched again from this page's address every so many milliseconds,
//                               for as long as what comes back says so too
// <div id=… data-events="/…">   its parts are replaced by those of the same id that each event
//                               brings; where there are no events, data-live counts
// <p id=… role="status">        stays where it is and says what the fetched page says
// <button data-copy="#id">      copies what stands there

// On a phone the navigation is wider than the screen.
const entry = document.querySelector(".main-nav [aria-current]");
entry?.closest(".main-nav").scrollTo({ left: entry.offsetLeft - window.innerWidth / 3 });

const fetchPage = async (address) => {
  const answer = await fetch(address, { credentials: "same-origin" });
  if (answer.redirected || !answer.ok) {
    window.location.assign(address); // Signed out, or an error that is a page.
    return null;
  }
  return new DOMParser().parseFromString(await answer.text(), "text/html");
};

const renew = (part, page) => {
  const fresh = page.getElementById(part.id);
  part.replaceWith(fresh);
  document.title = page.title;
  fresh.querySelectorAll("form[data-search]").forEach(searchWhileTyping);
  // A screen reader listens to the element that was there.
  for (const said of document.querySelectorAll("[role=status][id]")) {
    const news = page.getElementById(said.id)?.textContent ?? said.textContent;
    if (said.textContent !== news) said.textContent = news;
  }
  return fresh;
};

const searchWhileTyping = (form) => {
  let waiting;
  let asked = 0;
  const search = async () => {
    const target = document.querySelector(form.dataset.search);
    const query = [...new FormData(form)].filter(([, value]) => value !== "");
    const address = `${form.getAttribute("action")}?${new URLSearchParams(query)}`;
    const mine = ++asked;
    target.setAttribute("aria-busy", "true");
    const page = await fetchPage(address).catch(() => undefined);
    if (page === undefined) target.removeAttribute("aria-busy"); // Nobody answers; typing on asks.
    // Of answers that overtake each other, only that to the last question counts.
    if (page && mine === asked) {
      renew(document.querySelector(form.dataset.search), page);
      window.history.replaceState(null, "", address);
    }
  };
  form.addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(search, event.target.type === "search" ? 200 : 0);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    search();
  });
};
document.querySelectorAll("form[data-search]").forEach(searchWhileTyping);

const keepLive = (id) => {
  const every = Number(document.getElementById(id)?.dataset.live);
  if (!every) return;
  setTimeout(async () => {
    const isRead = document.getElementById(id).contains(document.activeElement);
    // Not while nobody looks, nor under the hands of somebody who is in it.
    if (!document.hidden && !isRead) {
      const page = await fetchPage(window.location.href).catch(() => undefined);
      if (page === null) return; // Another page comes.
      if (page) renew(document.getElementById(id), page);
    }
    keepLive(id);
  }, every);
};
const listen = (id) => {
  const source = new EventSource(document.getElementById(id).dataset.events);
  source.addEventListener("progress", (event) => {
    const news = new DOMParser().parseFromString(event.data, "text/html");
    for (const part of [...news.body.children]) document.getElementById(part.id)?.replaceWith(part);
  });
  source.addEventListener("end", async () => {
    source.close();
    const page = await fetchPage(window.location.href).catch(() => keepLive(id));
    if (page) renew(document.getElementById(id), page);
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) keepLive(id);
  });
};
for (const part of document.querySelectorAll("[data-live]")) {
  (part.dataset.events ? listen : keepLive)(part.id);
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}
