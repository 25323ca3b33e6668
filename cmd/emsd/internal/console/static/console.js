// Comfort only: every page works without it.
"use strict";
document.addEventListener("submit", (e) => {
  const by = e.submitter;
  const question = (by && by.dataset.confirm) || e.target.dataset.confirm;
  if (question && !window.confirm(question)) {
    e.preventDefault();
    return;
  }
  if (e.target.dataset.sent) { // a second click sends nothing twice
    e.preventDefault();
  } else if (e.target.method === "post" && !e.target.dataset.again) {
    e.target.dataset.sent = "1";
  }
});
window.addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((f) => delete f.dataset.sent));
document.addEventListener("click", (e) => {
  if (e.target.closest("[data-print]")) window.print();
});
document.addEventListener("change", (e) => {
  if (e.target.matches("[data-submit]") && e.target.form) e.target.form.requestSubmit();
});
