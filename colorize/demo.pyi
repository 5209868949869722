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
from types import ModuleType
from typing import Any

from PIL import Image

from colorize.data.scenes import draw_scene
from colorize.errors import UserError
from colorize.images import ImageError
from colorize.inference import MAX_STRENGTH, Colorizer, Options
from colorize.photos import Photo, name_for, photo_of, read_photo, write_photo

PREVIEW = 1600  # pixels of the longer side at most of what the page shows; the saved file has all of them
EXAMPLES = 7, (13, 4, 27, 19, 3, 12)  # seed and numbers of generated scenes: each in other surroundings
EXAMPLE_SIZE = 384  # pixels a side
WORKING_SIZES = [("as trained", 0), *((str(size), size) for size in (128, 256, 384, 512, 768, 1024))]
STALE = 24 * 3600  # seconds; an upload of that age belongs to no session, or its page was forgotten
TITLE = "# colorize\nDrop a black-and-white photograph: it comes back in colour, as sharp and as large as it was."
NOTHING = "No photograph yet: drop one, or take an example."
CSS = """
.gradio-container { max-width: 1120px !important; margin: 0 auto !important; }
"""
KEYS = """() => setTimeout(() => {  // Gradio's slider heeds only the mouse and touch
    const handle = document.querySelector('[data-testid="slider"]');
    if (!handle) return;
    Object.assign(handle, {tabIndex: 0, role: "slider", ariaLabel: "Before and after"});
    handle.onkeydown = event => {
        const steps = {ArrowLeft: -1, ArrowRight: 1}[event.key];
        if (!steps) return;
        event.preventDefault();
        const box = handle.getBoundingClientRect(), x = box.x + box.width / 2;
        const send = (target, type, clientX) =>
            target.dispatchEvent(new MouseEvent(type, {clientX, view: window, bubbles: true}));
        send(handle, "mousedown", x);
        for (const type of ["mousemove", "mouseup"]) send(window, type, x + 20 * steps);
    };
}, 100)"""


class Page:
    """The page, and the temporary folder in which all that it is given and makes lies until it is closed.

    Until then Gradio's variables in this process's environment name that folder: one page at a time in a process.

    Args:
        checkpoints: one or more, see `Colorizer.from_checkpoint`; each is loaded when it is first used.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        max_megabytes: of an uploaded file, in 10^6 bytes.
        max_megapixels: of a photograph, read from its header before it is decoded.
    Attributes:
        blocks: the page, a ``gradio.Blocks``.
        folder: the temporary folder.
        url: where it is served; empty before `open`.
    Raises:
        UserError: if Gradio is missing, or there is no checkpoint.
    """

    def __init__(
        self,
        checkpoints: Sequence[str | Path],
        device: str = "auto",
        max_megabytes: int = 25,
        max_megapixels: int = 50,
    ) -> None:
        gr = _gradio()
        named = _named(checkpoints)
        self.names = list(named)
        self.colorizer = cache(lambda name: Colorizer.from_checkpoint(named[name], device))
        self.max_megabytes = max_megabytes
        self.max_megapixels = max_megapixels
        self.url = ""
        self._held: dict[str, set[Path]] = {}  # the files of each session
        self._turn = threading.Lock()  # one model on one device; and files are not removed while they are written
        self._end = ExitStack()
        made = tempfile.TemporaryDirectory(prefix="colorize-", ignore_cleanup_errors=True)
        self.folder = Path(self._end.enter_context(made)).resolve()
        self._end.enter_context(_environment(self.folder))
        self.examples = _draw_examples(self.folder / "examples")
        self.blocks = self._build(gr)

    def open(self, host: str = "127.0.0.1", port: int | None = 7860) -> None:
        """Serve the page.

        Args:
            host: an address of this machine; ``0.0.0.0`` is all of them, for all who can reach it.
            port: None or 0 is a free one.
        Raises:
            UserError: if that address or port cannot be used.
        """
        fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # none is fetched
        _, self.url, _ = self.blocks.launch(
            server_name=host,
            server_port=_usable_port(host, port),
            theme=_gradio().themes.Default(primary_hue="indigo", **fonts),
            css=CSS,
            max_file_size=self.max_megabytes * 10**6,
            footer_links=[],
            quiet=True,
            inline=False,
            prevent_thread_lock=True,
            num_workers=0,
            # What Gradio would else take from its environment variables
            share=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
            run_history=False,
            root_path="",
        )

    def close(self) -> None:
        """End the page, after a colouring that is under way, and remove its folder."""
        self.blocks.close(verbose=False)
        with self._turn:
            self._end.close()
from gradio.events import Dependency

    def _build(self, gr: ModuleType) -> Any:
        class PhotoFile(gr.File):
            """A file as it was uploaded: what it is, `_color` says."""

            is_template = True  # shown as its base class is

            def preprocess(self, payload: Any) -> Path | None:
                return payload and Path(payload.path).resolve()

        def color(photo, strength, working_size, flip, name, request: gr.Request):
            options = {"strength": strength, "working_size": working_size or None, "ensemble": ("none", "flip")[flip]}
            before, after, target, line = self._color(request.session_hash, photo, name, options)
            return before and (before, after), gr.DownloadButton(value=target, interactive=bool(target)), line

        def leave(request: gr.Request) -> None:
            with self._turn:
                self._forget(request.session_hash)

        private = {"api_visibility": "private"}
        with gr.Blocks(title="colorize", analytics_enabled=False, delete_cache=(3600, STALE)) as blocks:
            gr.Markdown(TITLE)
            with gr.Row():
                with gr.Column(scale=1, min_width=300):
                    photo = PhotoFile(label="Photograph", file_types=["image"], height=150)
                    photo.keep_in_cache.update(map(str, self.examples))
                    start = gr.Button("Colour", variant="primary")
                    strength = gr.Slider(0, MAX_STRENGTH, 1, step=0.05, label="Strength")
                    size = gr.Dropdown(
                        WORKING_SIZES, value=0, label="Working size", info="Pixels that the network sees"
                    )
                    flip = gr.Checkbox(label="Mean with the mirrored picture")
                    name = gr.Dropdown(self.names, label="Checkpoint", visible=len(self.names) > 1)
                with gr.Column(scale=2, min_width=300):
                    slider = gr.ImageSlider(label="Before and after", interactive=False, buttons=["fullscreen"])
                    line = gr.HTML(_line(NOTHING))
                    save = gr.DownloadButton("Save at full size", interactive=False)
            pictures = [[str(path)] for path in self.examples]
            examples = gr.Dataset(label="Examples", components=[gr.Image(render=False)], samples=pictures, type="index")
            examples.click(lambda index: pictures[index][0], examples, photo, queue=False, **private)
            settings = [photo, strength, size, flip, name]
            gr.on(
                [photo.change, start.click], color, settings, [slider, save, line], show_progress_on=slider, **private
            )
            slider.change(None, js=KEYS, **private)
            blocks.unload(leave)
        return blocks.queue(default_concurrency_limit=1, api_open=False)

    def _color(self, session: str, path: Path | None, name: str, options: dict[str, Any]) -> tuple[Any, ...]:
        """Colour a photograph; return the files to show before and after and to save, or None each, and the line."""
        with self._turn:
            self._forget(session, path)
            if path is None:
                return None, None, None, _line(NOTHING)
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
            except (ImageError, OSError, ValueError) as error:
                said = re.sub(rf"{re.escape(str(self.folder))}\S*/", "", str(error))  # the file's name alone
                return None, None, None, _line(said, "wrong")
        width, height = photo.size
        facts = [
            f"{path.name}: {width} × {height} pixels in {time.perf_counter() - started:.1f} s",
            f"{limited / (width * height):.1%} of the pixels lost chroma to fit sRGB",
            *photo.notes,
        ]
        return *files, _line("; ".join(facts) + ".")

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
    """Serve the page; see `Page` and `Page.open` for the arguments.

    Args:
        block: print the address, and return when Ctrl-C has closed the page; SIGTERM closes it too, and raises
            ``SystemExit(143)``. Else return at once; the page that is returned is then to be closed.
    Raises:
        UserError: if Gradio is missing, the first checkpoint cannot be read, or the address or port cannot be used.
    """
    page = Page(checkpoints, device, max_megabytes, max_megapixels)
    with ExitStack() as ending:
        ending.callback(page.close)
        page.colorizer(page.names[0])  # what is wrong with it is better said here than in the page
        page.open(host, port)
        if not block:
            ending.pop_all()
            return page
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
            ending.callback(signal.signal, signal.SIGTERM, before)
        print(f"{page.url}  (Ctrl-C ends it)", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    return page


def _gradio() -> ModuleType:
    try:
        import gradio
    except ImportError:
        raise UserError("the web page needs Gradio: pip install 'colorize[demo]'") from None
    return gradio


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Have Gradio keep and serve nothing outside of a folder, and report nothing."""
    wanted = {
        "GRADIO_TEMP_DIR": str(folder),
        "GRADIO_EXAMPLES_CACHE": str(folder / "cache"),  # else .gradio in the working directory, which it serves
        "GRADIO_ALLOWED_PATHS": "",
        "GRADIO_ANALYTICS_ENABLED": "False",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


def _usable_port(host: str, port: int | None) -> int:
    try:
        with socket.create_server((host, port or 0)) as free:
            return free.getsockname()[1]
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"host={host} port={port}: {reason}; use another, or port=0 for a free one") from None


def _named(checkpoints: Sequence[str | Path]) -> dict[str, str | Path]:
    """Name each checkpoint by so much of the end of its path as tells them apart."""
    paths = {Path(checkpoint): checkpoint for checkpoint in checkpoints}
    if not paths:
        raise UserError("no checkpoint; give one or more, such as RUN/checkpoints/best.ckpt")
    depth, named = 0, {}
    while len(named) < len(paths):
        depth += 1
        named = {"/".join(path.parts[-depth:]): checkpoint for path, checkpoint in paths.items()}
    return named


def _draw_examples(folder: Path) -> list[Path]:
    folder.mkdir()
    seed, numbers = EXAMPLES
    scenes = [draw_scene(seed, number, EXAMPLE_SIZE) for number in numbers]
    paths = [folder / f"{scene.setting}-{scene.time}.png" for scene in scenes]
    for path, scene in zip(paths, scenes, strict=True):
        Image.fromarray(scene.rgb).convert("L").save(path)
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