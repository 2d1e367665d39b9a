// Keeps an open page up to date. The page is whole without it.
"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const main = $("#main");
  const said = $("#said");
  const frozen = $("#frozen");
  const STALE_MS = 7000; // three beats and a little
  let source = null;
  let lastHeard = Date.now();
  let lastNews = new Date();
  let playing = null;

  // ---- Theme: auto, dark, light. Kept in this browser only.
  const themes = ["auto", "dark", "light"];
  const themeButton = $("#theme");
  const keep = (name, value) => { try { localStorage.setItem(name, value); } catch { /* private */ } };
  const kept = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  function setTheme(theme) {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    themeButton.textContent = `Theme: ${theme}`;
    keep("theme", theme);
  }
  function nextTheme() {
    const now = document.documentElement.dataset.theme || "auto";
    setTheme(themes[(themes.indexOf(now) + 1) % themes.length]);
  }
  themeButton.hidden = false;
  themeButton.addEventListener("click", nextTheme);
  setTheme(themes.includes(kept("theme")) ? kept("theme") : "auto");

  // ---- Help.
  const help = $("#help");
  $("#help-open").hidden = false;
  $("#help-open").addEventListener("click", () => help.showModal());

  // ---- Frozen data: nothing that looks live may be shown when it is not.
  const clockText = (date) => date.toTimeString().slice(0, 5);
  function freeze(why) {
    if (document.body.classList.contains("frozen")) return;
    document.body.classList.add("frozen");
    frozen.textContent = `Data frozen at ${clockText(lastNews)}: ${why}. Do not read this page as current.`;
    frozen.hidden = false;
    feedChip("stop", "feed broken");
  }
  function thaw() {
    if (!document.body.classList.contains("frozen")) return;
    document.body.classList.remove("frozen");
    frozen.hidden = true;
    feedChip("on", "feed live");
    if (!playing) refresh();
  }
  function feedChip(kind, words) {
    const chip = $("#feed");
    if (!chip) return;
    chip.className = `chip feed ${kind}`;
    $(".text", chip).textContent = words;
  }
  setInterval(() => {
    if (source && Date.now() - lastHeard > STALE_MS) freeze("the connection to the service is lost");
  }, 500);

  // ---- One stay's tile or row, in its place: tiles never jump while they are read.
  function fromHtml(html, row) {
    const template = document.createElement("template");
    template.innerHTML = row ? `<table><tbody>${html}</tbody></table>` : html;
    return template.content.querySelector("[data-stay]");
  }
  function place(id, html) {
    const beds = $("#beds");
    if (!beds) { refresh(); return; }
    const row = beds.tagName === "TBODY";
    const fresh = fromHtml(row ? html.row : html.tile, row);
    const old = $(`[data-stay="${CSS.escape(id)}"]`, beds);
    if (!old) {
      // A filter may hide it; the address says which, so the server decides.
      if (filtered()) return;
      if (!fresh.classList.contains("ended")) beds.append(fresh);
      return;
    }
    if (old.outerHTML === fresh.outerHTML) return;
    const focused = old.contains(document.activeElement);
    const changed = $(".risk, .risk-cell", old)?.textContent !== $(".risk, .risk-cell", fresh)?.textContent;
    old.replaceWith(fresh);
    if (focused) $(".bed-link", fresh)?.focus({ preventScroll: true });
    if (changed) {
      fresh.classList.add("news");
      const risk = $(".risk, .risk-cell strong", fresh)?.textContent;
      if (!playing && risk) said.textContent = `Stay ${id}: ${risk}`;
    }
  }
  function filtered() {
    const asked = new URLSearchParams(location.search);
    return ["q", "band", "film", "unit"].some((name) => asked.get(name));
  }
  function onWard(data) {
    lastNews = new Date();
    for (const [id, html] of Object.entries(data.stays)) place(id, html);
    const summary = $("#summary");
    if (summary && summary.innerHTML !== data.summary) summary.innerHTML = data.summary;
  }

  // ---- The whole page anew, keeping focus, scroll and what was unfolded.
  let refreshing = false;
  let again = false;
  async function refresh() {
    if (refreshing) { again = true; return; }
    refreshing = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      // The token has ended: the service asks to sign in.
      if (answer.redirected) { location.assign(answer.url); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const body = $("#main", fresh);
      const unfolded = new Map($$("details[id]", main).map((one) => [one.id, one.open]));
      const focus = document.activeElement?.id;
      for (const one of $$("details[id]", body)) {
        if (unfolded.has(one.id)) one.open = unfolded.get(one.id);
      }
      for (const image of $$("img[src]", body)) {
        const old = $$("img[src]", main).find((one) => one.getAttribute("src") === image.getAttribute("src"));
        if (old) image.replaceWith(old);
      }
      main.replaceChildren(...body.childNodes);
      if (focus && main.contains(document.getElementById(focus))) {
        document.getElementById(focus).focus({ preventScroll: true });
      }
      lastNews = new Date();
      enhance();
    } catch {
      freeze("the service did not answer");
    } finally {
      refreshing = false;
      if (again) { again = false; refresh(); }
    }
  }

  // ---- The stream of updates.
  function listen(address) {
    source?.close();
    source = new EventSource(address);
    lastHeard = Date.now();
    const heard = (act) => (event) => {
      lastHeard = Date.now();
      if (act) act(JSON.parse(event.data));
    };
    source.addEventListener("beat", heard((data) => {
      if (data.trouble) freeze(data.trouble); else thaw();
      if (data.finished && !playing) { source.close(); source = null; feedChip("done", "recording complete"); }
    }));
    source.addEventListener("ward", heard((data) => onWard(data)));
    source.addEventListener("stay", heard(() => refresh()));
    source.addEventListener("reload", heard(() => refresh()));
    source.addEventListener("clock", heard((data) => { thaw(); onClock(data); }));
    source.onerror = () => freeze("the connection to the service is lost");
  }

  // ---- Replay: the clock runs on the server, for this page alone.
  const time = () => $("#time");
  const label = () => $("#virtual");
  const stamp = (ms) => {
    const at = new Date(ms);
    const two = (n) => String(n).padStart(2, "0");
    const month = at.toLocaleString("en-GB", { month: "short", timeZone: "UTC" }).slice(0, 3);
    return `${two(at.getUTCDate())}-${month}-${at.getUTCFullYear()} ${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
  };
  function address(ms, extra = {}) {
    const asked = new URLSearchParams(location.search);
    asked.set("at", new Date(ms).toISOString().replace(/\.\d+Z/, "Z"));
    asked.delete("speed");
    for (const [name, value] of Object.entries(extra)) asked.set(name, value);
    return `${location.pathname}?${asked}`;
  }
  function onClock(data) {
    const bar = time();
    if (!bar) return;
    bar.dataset.at = data.at;
    $("#seek").value = data.at;
    $("#seek").setAttribute("aria-valuetext", data.text);
    label().textContent = data.text;
    history.replaceState(null, "", address(data.at));
    if (data.over) pause();
  }
  function play() {
    const bar = time();
    if (!bar) return;
    const speed = $("#speed").value;
    const asked = new URLSearchParams({ at: bar.dataset.at, speed });
    const stay = location.pathname.match(/^\/stay\/(\d+)/);
    if (stay) asked.set("stay", stay[1]);
    playing = speed;
    $("#play").textContent = "⏸ Pause";
    $("#replay-chip").textContent = `REPLAY ×${speed}`;
    listen(`/live?${asked}`);
  }
  function pause() {
    source?.close();
    source = null;
    playing = null;
    $("#play").textContent = "▶ Play";
    $("#replay-chip").textContent = "REPLAY paused";
  }
  function go(ms) {
    history.replaceState(null, "", address(ms));
    time().dataset.at = ms;
    label().textContent = stamp(ms);
    refresh();
  }
  function setUpReplay() {
    const bar = time();
    if (!bar) return;
    for (const id of ["#play", "#speed-label", "#seek-label"]) $(id).hidden = false;
    const clamp = (ms) => Math.min(Math.max(ms, Number(bar.dataset.first)), Number(bar.dataset.last));
    $("#play").addEventListener("click", () => (playing ? pause() : play()));
    $("#speed").addEventListener("change", () => { if (playing) play(); });
    const seek = $("#seek");
    seek.addEventListener("input", () => {
      label().textContent = stamp(Number(seek.value));
      seek.setAttribute("aria-valuetext", stamp(Number(seek.value)));
    });
    seek.addEventListener("change", () => {
      const was = playing;
      pause();
      go(Number(seek.value));
      if (was) play();
    });
    for (const step of $$(".step", bar)) {
      const hours = Number(step.textContent.replace("−", "-").replace(/[^\d-]/g, ""));
      step.addEventListener("click", (event) => {
        event.preventDefault();
        const was = playing;
        pause();
        const to = clamp(Number(bar.dataset.at) + hours * 3600000);
        seek.value = to;
        go(to);
        if (was) play();
      });
    }
    if (Number(bar.dataset.speed) > 0) play();
  }

  // ---- What a fresh main needs.
  function enhance() {
    for (const form of $$("form[data-auto]", main)) {
      for (const field of $$("select, input[type=radio]", form)) {
        field.addEventListener("change", () => form.requestSubmit());
      }
      $("button[type=submit]", form)?.classList.add("hidden");
    }
    for (const panel of $$("[data-film-tools]", main)) filmTools(panel);
  }

  // ---- Viewing a film: window, level, inversion, zoom. The pixels on the server stay as they are.
  function filmTools(panel) {
    const images = $$("img.pixels", panel);
    const tools = $(".film-tools", panel);
    if (!tools || !tools.hidden) return;
    tools.hidden = false;
    const show = () => {
      const level = $("[name=level]", tools).value;
      const contrast = $("[name=window]", tools).value;
      const inverted = $("[name=invert]", tools).checked ? 1 : 0;
      const zoom = $("[name=zoom]", tools).value;
      for (const image of images) {
        // The generated estimate is never changed, so that its mark stays legible.
        if (image.classList.contains("generated")) continue;
        image.style.filter = `brightness(${level}%) contrast(${contrast}%) invert(${inverted})`;
        image.style.transform = `scale(${zoom / 100})`;
      }
    };
    tools.addEventListener("input", show);
    tools.addEventListener("reset", () => setTimeout(show));
  }

  // ---- Keys.
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const typing = event.target.closest("input:not([type=range], [type=radio], [type=checkbox]), textarea, select");
    if (typing) return;
    const links = $$(".bed-link", main);
    const here = links.indexOf(document.activeElement);
    const focus = (n) => links[Math.min(Math.max(n, 0), links.length - 1)]?.focus();
    switch (event.key) {
      case "/": $("[data-find]", main)?.focus(); break;
      case "j": focus(here + 1); break;
      case "k": focus(here - 1); break;
      case "t": nextTheme(); break;
      case "?": help.showModal(); break;
      case " ":
        if (!time() || event.target.closest("button, a, summary, input")) return;
        playing ? pause() : play();
        break;
      default: return;
    }
    event.preventDefault();
  });

  // The banner of a stay sticks below the frame, whatever its height.
  const frame = $(".top");
  const below = () => {
    const sticks = getComputedStyle(frame).position === "sticky";
    document.documentElement.style.setProperty("--top", sticks ? `${frame.offsetHeight}px` : "0px");
  };
  new ResizeObserver(below).observe(frame);

  enhance();
  setUpReplay();
  if (main.dataset.live) listen(main.dataset.live);
})();
