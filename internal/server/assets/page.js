// Goes on where a page of Genkan says so. location.replace keeps the callback out of the history.
const next = document.getElementById("continue");
if (next) location.replace(next.href);

// Signs out at the provider, where its address would be too long for a redirect.
const form = document.getElementById("send");
if (form) form.submit();
