"""Texts and styles of the page, and the keyboard and screen-reader support that Gradio lacks."""

import html

TITLE = "# colorize\nDrop a black-and-white photograph: it comes back in color, at its own size and sharpness."
NOTHING = "No photograph yet: drop one, or choose an example."
WORKING_SIZES = [("as trained", 0), *((str(size), size) for size in (128, 256, 384, 512, 768, 1024))]
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # no downloads
CSS = """
.gradio-container { width: 100% }
#examples .gallery { display: grid; grid-template-columns: repeat(2, 1fr) }
#examples :is(span, .container, img) { display: block; width: 100%; height: auto; max-height: none; max-width: none }
@media (max-width: 640px) { #examples .gallery { grid-template-columns: repeat(4, 1fr) } }
#stage .empty { min-height: 420px }
#line .html-container { padding: 0 }
.wrong { color: var(--error-text-color) }
#stage [role="slider"]:focus-visible .icon-wrap { outline: 3px solid var(--color-accent); outline-offset: 3px }
"""
ACCESS = """() => {  // missing in Gradio: alternative texts of pictures, and arrow keys for the divider
  const mend = () => {
    for (const image of document.querySelectorAll("#examples img, #stage img"))
      image.alt = image.src.split("/").pop().split(".")[0];
    const handle = document.querySelector('#stage [data-testid="slider"]'), all = handle?.parentElement;
    if (!handle || handle.onkeydown) return;
    const tell = () => handle.ariaValueNow = Math.round(100 * handle.style.transform.match(/[0-9]+/) / all.clientWidth);
    handle.onkeydown = event => {
      const step = {ArrowLeft: -0.05, ArrowRight: 0.05}[event.key], {x, width} = handle.getBoundingClientRect();
      if (step) event.preventDefault(); else return;
      const at = {clientX: x + width / 2 + step * all.clientWidth, view: window, bubbles: true};
      handle.dispatchEvent(new MouseEvent("mousedown", at));
      window.dispatchEvent(new MouseEvent("mouseup", at));
      setTimeout(tell);
    };
    Object.assign(handle, {tabIndex: 0, role: "slider", ariaLabel: "Before and after", onfocus: tell});
    document.getElementById("stage").scrollIntoView({block: "nearest", behavior: "smooth"});
  };
  mend();
  new MutationObserver(mend).observe(document.body, {childList: true, subtree: true});
}"""


def line(said: str, kind: str = "") -> str:
    """Return a status line as HTML; the kind ``wrong`` is shown in red."""
    return f'<p role="status" class="{kind}">{html.escape(said)}</p>'
