"use strict";
// Keeps a page that someone is looking at up to date, from the stream that its `data-live` names.
(() => {
  const place = document.querySelector("[data-live]");
  if (!place || !window.EventSource) return;
  const source = new EventSource(place.dataset.live);
  const on = (kind, act) => source.addEventListener(kind, (event) => {
    const told = JSON.parse(event.data);
    const target = document.getElementById(told.id);
    if (target || kind === "end") act(target, told.content);
  });
  on("part", (target, content) => {
    const focused = target.contains(document.activeElement) ? document.activeElement.id : "";
    target.innerHTML = content;
    if (focused) document.getElementById(focused)?.focus();
  });
  on("append", (target, content) => {
    const atEnd = target.scrollHeight - target.scrollTop - target.clientHeight < 40;
    target.append(content);
    if (atEnd) target.scrollTop = target.scrollHeight;
  });
  on("end", () => source.close());
})();
