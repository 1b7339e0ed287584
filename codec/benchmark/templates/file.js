/* The pictures and the native player, at one time. */
const audio = document.querySelector("audio");
const heads = [...document.querySelectorAll(".head")];

function show() {
  for (const head of heads) head.style.left = `${100 * audio.currentTime / (audio.duration || 1)}%`;
  if (!audio.paused) requestAnimationFrame(show);
}

function seek(seconds) {
  audio.currentTime = Math.max(0, Math.min(seconds, audio.duration || 0));
}

for (const event of ["play", "pause", "seeked", "ended"]) audio.addEventListener(event, show);
document.querySelectorAll(".timeline").forEach((place) => place.addEventListener("click", (event) => {
  const box = place.getBoundingClientRect();
  seek((event.clientX - box.left) / box.width * audio.duration);
}));
document.addEventListener("keydown", (event) => {
  // The native player has keys of its own, and a table in focus scrolls.
  if (event.target !== document.body || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " ") { if (audio.paused) audio.play(); else audio.pause(); }
  else if (event.key === "ArrowLeft") seek(audio.currentTime - 1);
  else if (event.key === "ArrowRight") seek(audio.currentTime + 1);
  else return;
  event.preventDefault();
});
