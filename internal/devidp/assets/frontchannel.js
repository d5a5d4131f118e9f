"use strict";

// The frames have loaded when the page has; one that hangs must not hold up the person.
const goOn = document.getElementById("go-on");

function leave() {
  if (goOn) {
    location.replace(goOn.href);
  }
}

if (document.readyState === "complete") {
  leave();
} else {
  addEventListener("load", leave);
  setTimeout(leave, 5000);
}
