// Comfort for the barcode gun; every page works without it. A form with data-scan is sent in the background, so that the
// next scan finds its field at once; an element with data-sound says how the answer sounds.
"use strict";
(() => {
  let audio = null;
  const tone = (at, hz, seconds, type) => {
    const o = audio.createOscillator(), g = audio.createGain();
    o.type = type;
    o.frequency.value = hz;
    g.gain.value = 0.25;
    o.connect(g).connect(audio.destination);
    o.start(at);
    o.stop(at + seconds);
  };
  const sound = (kind) => {
    document.documentElement.dataset.sounded = kind; // tests hear by it
    try {
      audio = audio || new AudioContext();
      const now = audio.currentTime;
      if (kind === "good") tone(now, 1320, 0.12, "sine");
      else if (kind === "bad") for (const n of [0, 1, 2]) tone(now + n * 0.22, 196, 0.16, "square");
      else tone(now, 880, 0.05, "sine");
    } catch (e) { /* no sound device: the colour tells */ }
  };
  const field = () => document.querySelector("input.gun");
  const ready = () => {
    const answer = document.querySelector("[data-sound]");
    if (answer) sound(answer.dataset.sound);
    const f = field();
    if (f) { f.focus(); f.select(); }
  };
  document.addEventListener("submit", (e) => {
    const form = e.target;
    if (!form.matches("form[data-scan]") || e.defaultPrevented) return;
    e.preventDefault();
    delete form.dataset.sent;
    if (form.dataset.busy) return;
    form.dataset.busy = "1";
    const body = new URLSearchParams(new FormData(form));
    fetch(form.action, { method: "POST", body, credentials: "same-origin" }).then(async (r) => {
      const page = new DOMParser().parseFromString(await r.text(), "text/html");
      if (r.redirected || !page.querySelector("form[data-scan]")) { // signed out, or an error page
        if (r.redirected) window.location.assign(r.url);
        else { document.querySelector("main").replaceWith(document.adoptNode(page.querySelector("main"))); sound("bad"); }
        return;
      }
      document.querySelector("main").replaceWith(document.adoptNode(page.querySelector("main")));
      ready();
    }).catch(() => {
      delete form.dataset.busy;
      sound("bad");
      window.alert("没有发出去：网络不通，请再扫一次");
    });
  });
  // The field has the focus whenever nothing else wants it.
  document.addEventListener("focusout", () => setTimeout(() => {
    const f = field();
    if (f && document.activeElement === document.body) f.focus();
  }));
  document.addEventListener("change", (e) => {
    if (!e.target.matches("[data-all]")) return;
    document.querySelectorAll("input[name='" + e.target.dataset.all + "']").forEach((c) => { c.checked = e.target.checked; });
  });
  ready();
})();
