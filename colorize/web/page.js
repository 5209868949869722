// Adds what Gradio lacks: alternative texts of pictures, and arrow keys for the divider between before and after.
() => {
  const repair = () => {
    for (const image of document.querySelectorAll("#examples img, #stage img"))
      image.alt = image.src.split("/").pop().split(".")[0];
    const handle = document.querySelector('#stage [data-testid="slider"]'), all = handle?.parentElement;
    if (!handle || handle.onkeydown) return;
    const announce = () => handle.ariaValueNow = Math.round(100 * handle.style.transform.match(/[0-9]+/) / all.clientWidth);
    handle.onkeydown = event => {
      const step = {ArrowLeft: -0.05, ArrowRight: 0.05}[event.key], {x, width} = handle.getBoundingClientRect();
      if (step) event.preventDefault(); else return;
      const at = {clientX: x + width / 2 + step * all.clientWidth, view: window, bubbles: true};
      handle.dispatchEvent(new MouseEvent("mousedown", at));
      window.dispatchEvent(new MouseEvent("mouseup", at));
      setTimeout(announce);
    };
    Object.assign(handle, {tabIndex: 0, role: "slider", ariaLabel: "Before and after", onfocus: announce});
    document.getElementById("stage").scrollIntoView({block: "nearest", behavior: "smooth"});
  };
  repair();
  new MutationObserver(repair).observe(document.body, {childList: true, subtree: true});
}
