"""A web page that colours photographs where it runs: drop one, compare before and after, save it at full size."""

import html
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from colorize.data.scenes import draw_scene
from colorize.errors import UserError, missing_extra
from colorize.inference import MAX_STRENGTH, Colorizer, Options
from colorize.photos import Photo, name_for, photo_of, read_photo, write_photo

PREVIEW = 1600  # pixels of the longer side at most of what the page shows; the saved file has all of them
EXAMPLES = [(7, number, 384) for number in (13, 4, 27, 19, 3, 12)]  # seeds, numbers, sides: each in other surroundings
WORKING_SIZES = [("as trained", 0), *((str(size), size) for size in (128, 256, 384, 512, 768, 1024))]
STALE = 24 * 3600  # seconds; an upload of that age belongs to no session, or its page was forgotten
TITLE = "# colorize\nDrop a black-and-white photograph: it comes back in colour, as sharp and as large as it was."
NOTHING = "No photograph yet: drop one, or take an example."
OFF = dict.fromkeys(("inline", "share", "ssr_mode", "pwa", "mcp_server", "enable_monitoring"), False)
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # none is fetched
CSS = """
.gradio-container { width: 100% }
#examples .gallery { display: grid; grid-template-columns: repeat(3, 1fr) }
#examples :is(span, .container, img) { display: block; width: 100%; height: auto; max-height: none; max-width: none }
@media (max-width: 640px) { #examples .gallery { grid-template-columns: repeat(6, 1fr) } }
#stage .empty { min-height: 420px }
#line .html-container { padding: 0 }
.wrong { color: var(--error-text-color) }
#stage [role="slider"]:focus-visible .icon-wrap { outline: 3px solid var(--color-accent); outline-offset: 3px }
"""
ACCESS = """() => {  // what Gradio leaves out: names of pictures, and keys for the divider
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
LAUNCH = {"css": CSS, "footer_links": [], "prevent_thread_lock": True, "quiet": True, **OFF}


class Page:
    """The page, and the temporary folder in which all that it is given and makes lies until it is closed.

    Until then Gradio's variables in this process's environment name that folder: one page at a time in a process.

    Args:
        checkpoints: one or more, see `Colorizer.from_checkpoint`; each is loaded when it is first used.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        max_megapixels: of a photograph, read from its header before it is decoded.
    Attributes:
        blocks: the page, a ``gradio.Blocks``.
        folder: the temporary folder.
        url: where it is served; empty before.
    Raises:
        UserError: if Gradio is missing, or there is no checkpoint.
    """

    def __init__(self, checkpoints: Sequence[str | Path], device: str = "auto", max_megapixels: int = 50) -> None:
        try:
            import gradio
        except ImportError:
            raise UserError(missing_extra("the web page needs Gradio", "demo")) from None
        named = _named(checkpoints)
        self.names = list(named)
        self.colorizer = cache(lambda name: Colorizer.from_checkpoint(named[name], device))
        self.max_megapixels = max_megapixels
        self.url = ""
        self._held: dict[str, set[Path]] = {}  # the files of each session
        self._turn = threading.Lock()  # one model on one device; and files are not removed while they are written
        self._end = ExitStack()
        made = tempfile.TemporaryDirectory(prefix="colorize-", ignore_cleanup_errors=True)
        self.folder = Path(self._end.enter_context(made)).resolve()
        self._end.enter_context(_environment(self.folder))
        gradio.routes.DEFAULT_TEMP_DIR = str(self.folder)  # else it makes /tmp/gradio, which may be another user's
        self.examples = _draw_examples(self.folder / "examples")
        self.theme = gradio.themes.Default(primary_hue="indigo", **FONTS)
        self.blocks = self._build(gradio)

    def close(self) -> None:
        """End the page, after a colouring that is under way, and remove its folder."""
        self.blocks.close(verbose=False)
        with self._turn:
            self._end.close()

    def _build(self, gr: Any) -> Any:
        def color(file, strength, working_size, flip, name, request: gr.Request):
            options = {"strength": strength, "working_size": working_size or None, "ensemble": ("none", "flip")[flip]}
            path = file and Path(file["path"]).resolve()
            files, line = self._color(request.session_hash, path, name, options)
            return files and files[:2], gr.DownloadButton(value=files and files[2], interactive=bool(files)), line

        def leave(request: gr.Request) -> None:
            with self._turn:
                self._forget(request.session_hash)

        pictures = [[str(path)] for path in self.examples]
        private = {"api_visibility": "private"}
        with gr.Blocks(title="colorize", analytics_enabled=False, delete_cache=(3600, STALE)) as blocks:
            gr.Markdown(TITLE)
            with gr.Row():
                with gr.Column(min_width=300):
                    photo = gr.File(label="Photograph", file_types=["image"], height=150)
                    photo.keep_in_cache.update(map(str, self.examples))
                    examples = gr.Dataset(
                        components=[gr.Image(render=False)], samples=pictures, label="Examples", elem_id="examples"
                    )
                    strength = gr.Slider(0, MAX_STRENGTH, 1, step=0.05, label="Strength")
                    start = gr.Button("Colour", variant="primary")
                    with gr.Accordion("Settings", open=False):
                        size = gr.Dropdown(
                            WORKING_SIZES, label="Working size", info="Longer side for the network, in pixels"
                        )
                        flip = gr.Checkbox(label="Flip ensemble", info="Mean with the mirrored picture's colours")
                        name = gr.Dropdown(self.names, label="Checkpoint", visible=len(self.names) > 1)
                with gr.Column(scale=2, min_width=300):
                    stage = gr.ImageSlider(label="Before and after", buttons=["fullscreen"], elem_id="stage")
                    line = gr.HTML(_line(NOTHING), elem_id="line")
                    save = gr.DownloadButton("Save at full size", interactive=False)
            examples.click(lambda sample: sample[0], examples, photo, queue=False, **private)
            given, shown = [photo, strength, size, flip, name], [stage, save, line]
            ask = {"preprocess": False, "show_progress_on": stage, **private}  # else Gradio judges the photograph
            gr.on([photo.change, start.click], color, given, shown, **ask)
            blocks.load(js=ACCESS, **private)
            blocks.unload(leave)
        return blocks.queue(default_concurrency_limit=1, api_open=False)

    def _color(self, session: str, path: Path | None, name: str, options: dict[str, Any]) -> tuple[Any, str]:
        """Colour a photograph; return the files to show before and after and to save, or None, and what to say."""
        with self._turn:
            self._forget(session, path)
            if path is None:
                return None, _line(NOTHING)
            started = time.perf_counter()
            try:
                _check_size(path, self.max_megapixels)
                photo = read_photo(path)
                colored, limited = next(self.colorizer(name).colorize_photos([photo], Options(**options)))
                made = Path(tempfile.mkdtemp(dir=self.folder))
                target = made / name_for(path.with_stem(f"{path.stem}-coloured"), photo)
                files = made / "before.jpg", made / "after.jpg", target
                self._held[session].update(files)
                _write_preview(photo, files[0])
                _write_preview(photo_of(colored), files[1])
                write_photo(photo, colored, target)
            except Exception as error:  # whatever a photograph leads to is its line, not the page's end
                said = re.sub(rf"{re.escape(str(self.folder))}\S*/", "", str(error) or type(error).__name__)  # its name
                return None, _line(said, "wrong")
        width, height = photo.size
        facts = f"{path.name}: {width} × {height} pixels in {time.perf_counter() - started:.1f} s"
        share = f"{limited / (width * height):.1%} of the pixels lost chroma to fit sRGB"
        return files, _line("; ".join([facts, share, *photo.notes]) + ".")

    def _forget(self, session: str, now: Path | None = None) -> None:
        """Remove the files that a session alone holds, but for the photograph that it is at now."""
        mine = self._held.pop(session, set())
        for path in mine.difference([now], *self._held.values()):
            path.unlink(missing_ok=True)
            with suppress(OSError):  # not empty yet
                path.parent.rmdir()
        if now:
            self._held[session] = {now} - set(self.examples)


def serve(
    checkpoints: Sequence[str | Path],
    host: str = "127.0.0.1",
    port: int | None = 7860,
    device: str = "auto",
    max_megabytes: int = 25,
    max_megapixels: int = 50,
    block: bool = True,
) -> Page:
    """Serve a page.

    Args:
        checkpoints: as device and max_megapixels, see `Page`.
        host: an address of this machine; ``0.0.0.0`` is all of them, for all who can reach it.
        port: None or 0 is a free one.
        max_megabytes: of an uploaded file, in 2^20 bytes.
        block: print the address, and close the page and return on Ctrl-C; on SIGTERM, close it and raise
            ``SystemExit(143)``. Else return at once a page that is to be closed.
    Raises:
        UserError: if Gradio is missing, the first checkpoint cannot be read, or the address or port cannot be used.
    """
    with ExitStack() as ending:
        if block and threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
            ending.callback(signal.signal, signal.SIGTERM, before)
        page = Page(checkpoints, device, max_megapixels)
        ending.callback(page.close)
        page.colorizer(page.names[0])  # what is wrong with it is better said here than in the page
        port = _usable_port(host, port)
        _, page.url, _ = page.blocks.launch(
            server_name=host, server_port=port, max_file_size=max_megabytes * 2**20, theme=page.theme, **LAUNCH
        )
        if block:
            print(f"{page.url}  (Ctrl-C ends it)", flush=True)
            with suppress(KeyboardInterrupt):
                threading.Event().wait()
        else:
            ending.pop_all()
    return page


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Have Gradio keep and serve nothing outside of a folder, and report nothing."""
    wanted = {
        "GRADIO_TEMP_DIR": str(folder),
        "GRADIO_EXAMPLES_CACHE": str(folder / "cache"),  # else .gradio in the working directory, which it serves
        "GRADIO_ALLOWED_PATHS": "",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_RUN_HISTORY": "False",  # of results, in the browser
    }
    before = {name: os.environ[name] for name in wanted if name in os.environ}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name in wanted:
            del os.environ[name]
        os.environ.update(before)


def _usable_port(host: str, port: int | None) -> int:
    try:
        with socket.create_server((host, port or 0)) as free:
            return free.getsockname()[1]
    except (OSError, OverflowError) as error:
        raise UserError(f"host={host} port={port}: {error.args[-1]}; use another, or port=0 for a free one") from None


def _named(checkpoints: Sequence[str | Path]) -> dict[str, str | Path]:
    """Name each checkpoint by so much of the end of its path as tells them apart."""
    paths = {Path(checkpoint): checkpoint for checkpoint in checkpoints}
    if not paths:
        raise UserError("no checkpoint; give one or more, such as RUN/checkpoints/best.ckpt")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return {"/".join(path.parts[-depth:]): checkpoint for path, checkpoint in paths.items()}


def _draw_examples(folder: Path) -> list[Path]:
    folder.mkdir()
    paths = []
    for example in EXAMPLES:
        scene = draw_scene(*example)
        paths.append(folder / f"{scene.setting}-{scene.time}.png")
        Image.fromarray(scene.rgb).convert("L").save(paths[-1])
    return paths


def _check_size(path: Path, max_megapixels: int) -> None:
    width = height = 0
    with suppress(Exception), warnings.catch_warnings():  # what else is wrong, `read_photo` says
        warnings.simplefilter("ignore")  # Pillow warns of large images
        with Image.open(path) as image:
            width, height = image.size
    if width * height > max_megapixels * 1e6:
        raise UserError(f"{path.name}: {width}x{height} is over {max_megapixels} megapixels; make it smaller first")


def _write_preview(photo: Photo, target: Path) -> None:
    scale = min(1, PREVIEW / max(photo.size))
    size = tuple(max(1, round(side * scale)) for side in photo.size)
    Image.fromarray(photo.small(size)).save(target, quality=90, subsampling=0)


def _line(said: str, kind: str = "") -> str:
    return f'<p role="status" class="{kind}">{html.escape(said)}</p>'
