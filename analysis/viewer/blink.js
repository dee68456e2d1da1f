// Blinking: the space bar, or a button, exchanges the other image and its output for the truth's.

{
  const answer = document.getElementById("answer"), button = document.getElementById("blink");
  if (button) {
    const blink = () => {
      const on = answer.classList.toggle("blinked");
      button.setAttribute("aria-pressed", on);
    };
    answer.classList.add("live");
    button.addEventListener("click", blink);
    document.addEventListener("keydown", (event) => {
      if (event.key !== " " || event.ctrlKey || event.altKey || event.metaKey) return;
      // fields, buttons and what unfolds have a use for the space bar themselves
      if (/^(INPUT|SELECT|BUTTON|SUMMARY|TEXTAREA)$/.test(event.target.tagName)) return;
      event.preventDefault();
      blink();
    });
  }
}
