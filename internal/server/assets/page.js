// Goes on where a page of Genkan says so. location.replace keeps the callback out of the history.
const next = document.getElementById("continue");
if (next) location.replace(next.href);
