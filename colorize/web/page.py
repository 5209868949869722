"""The Gradio page: its components, and the coloring of an uploaded photograph."""

import logging
import math
import os
import re
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from colorize.base.errors import UserError, missing_extra
from colorize.images import ImageError
from colorize.inference.colorizer import MAX_STRENGTH, Colorizer, Options
from colorize.inference.predictor import load_predictor
from colorize.photos.photo import Photo, name_for, photo_of, read_photo, write_photo
from colorize.web.texts import CSS, FONTS, NOTHING, SCRIPT, TITLE, WORKING_SIZES, line
from colorize.web.uploads import Uploads

PREVIEW = 1600  # maximum longer side in pixels of the pictures on the page; the saved file has the full size
EXAMPLES = Path(__file__).parent / "examples"  # see its README for sources and licenses
WAITING = 50  # maximum number of photographs in the queue; with a small model they take three seconds
OFF = dict.fromkeys(("ssr_mode", "pwa", "mcp_server", "enable_monitoring", "run_history"), False)

log = logging.getLogger(__name__)


class Page:
    """The page, and the temporary folder for uploads and results, which is removed when the page is closed.

    While it is open, Gradio's environment variables point to that folder, so a process can have only one page at a
    time.

    Args:
        checkpoints: one or more, see `Colorizer.from_checkpoint`; each is loaded when it is first used.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        max_megapixels: maximum size of a photograph, checked in its header before it is decoded.
    Attributes:
        blocks: the page, a ``gradio.Blocks``.
        uploads: the temporary folder.
        url: address of the page; empty until it is served.
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
        self.colorizer = cache(lambda name: Colorizer(load_predictor(named[name], device)))
        self.max_megapixels = max_megapixels
        self.url = ""
        self._turn = threading.Lock()  # color one photograph at a time
        self._end = ExitStack()
        self.uploads = Uploads()
        self._end.callback(self.uploads.close)
        folder = self.uploads.folder
        self._end.enter_context(_environment(folder))
        gradio.routes.DEFAULT_TEMP_DIR = str(folder)  # else it uses /tmp/gradio, which may belong to another user
        shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("*.md"))
        self.examples = sorted((folder / "examples").iterdir())
        self.theme = gradio.themes.Default(primary_hue="indigo", **FONTS)
        self.blocks = self._build(gradio)

    def application(self, max_bytes: int) -> Any:
        """Return the page as an ASGI application that accepts uploads of at most ``max_bytes``."""
        import gradio
        from fastapi import FastAPI

        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        how = {"css": CSS, "theme": self.theme, "footer_links": [], "max_file_size": max_bytes}
        return gradio.mount_gradio_app(app, self.blocks, "/", **how, **OFF)

    def on_close(self, end: Callable[[], None]) -> None:
        """Register a function to be called first when the page is closed."""
        self._end.callback(end)

    def close(self) -> None:
        """Close the page and remove its folder, after the current photograph is finished."""
        if hasattr(self.blocks, "app"):
            self.blocks.app.stop_event.set()  # else open pages keep the server from stopping
        with self._turn:
            self._end.close()

    def _build(self, gr: Any) -> Any:
        def color(file, strength, working_size, flip, name, request: gr.Request):
            files, said = self._color(request.session_hash, file, name, strength, working_size, flip)
            return files and files[:2], gr.DownloadButton(value=files and files[2], interactive=bool(files)), said

        def leave(request: gr.Request) -> None:
            self.uploads.forget(request.session_hash)

        pictures = [[str(path)] for path in self.examples]
        private = {"api_visibility": "private"}
        with gr.Blocks(title="colorize", analytics_enabled=False) as blocks:
            gr.Markdown(TITLE)
            with gr.Row():
                with gr.Column(min_width=300):
                    photo = gr.File(label="Photograph", file_types=["image"], height=150)
                    examples = gr.Dataset(
                        components=[gr.Image(render=False)], samples=pictures, label="Examples", elem_id="examples"
                    )
                    strength = gr.Slider(0, MAX_STRENGTH, 1, step=0.05, label="Strength")
                    start = gr.Button("Color", variant="primary")
                    with gr.Accordion("Settings", open=False):
                        size = gr.Dropdown(
                            WORKING_SIZES, label="Working size", info="Longer side for the network, in pixels"
                        )
                        flip = gr.Checkbox(label="Flip ensemble", info="Average with the mirrored picture's colors")
                        name = gr.Dropdown(self.names, label="Checkpoint", visible=len(self.names) > 1)
                with gr.Column(scale=2, min_width=300):
                    stage = gr.ImageSlider(label="Before and after", buttons=["fullscreen"], elem_id="stage")
                    said = gr.HTML(line(NOTHING), elem_id="line")
                    save = gr.DownloadButton("Save at full size", interactive=False)
            examples.click(lambda sample: sample[0], examples, photo, queue=False, **private)
            given, shown = [photo, strength, size, flip, name], [stage, save, said]
            ask = {"preprocess": False, "show_progress_on": stage, **private}  # without Gradio's checks of the photo
            gr.on([photo.change, start.click], color, given, shown, **ask)
            blocks.load(js=SCRIPT, **private)
            blocks.unload(leave)
        return blocks.queue(default_concurrency_limit=1, max_size=WAITING, api_open=False)

    def _color(self, session: str, file: Any, name: Any, *settings: Any) -> tuple[Any, str]:
        """Color a photograph; return the files (before, after, full size) or None, and the status line."""
        with self._turn:
            try:
                path = self.uploads.photograph(file)
                self.uploads.forget(session, path)
                if path is None:
                    return None, line(NOTHING)
                if name not in self.names:
                    raise UserError("this page has no such checkpoint")
                return self._colored(session, path, self.colorizer(name), _options(*settings))
            except (ImageError, OSError, ValueError) as error:
                said = re.sub(rf"{re.escape(str(self.uploads.folder))}\S*/", "", str(error))  # only the file name
                return None, line(" ".join(said.split()) or type(error).__name__, "wrong")
            except Exception as error:  # one photograph can raise any type; keep the page running
                log.exception("a photograph could not be colored")
                return None, line(f"this photograph could not be colored ({type(error).__name__})", "wrong")

    def _colored(self, session: str, path: Path, colorizer: Colorizer, options: Options) -> tuple[Any, str]:
        started = time.perf_counter()
        _check_size(path, self.max_megapixels)
        photo = read_photo(path)
        colored, limited = next(colorizer.colorize_photos([photo], options))
        made = self.uploads.new_folder()
        files = made / "before.jpg", made / "after.jpg", made / name_for(path.with_stem(f"{path.stem}-colored"), photo)
        self.uploads.hold(session, files)
        _write_preview(photo, files[0])
        _write_preview(photo_of(colored), files[1])
        write_photo(photo, colored, files[2])
        width, height = photo.size
        facts = f"{path.name}: {width} × {height} pixels in {time.perf_counter() - started:.1f} s"
        share = f"{limited / (width * height):.1%} of the pixels lost chroma to fit sRGB"
        caution = [f"the checkpoint {colorizer.caution}"] if colorizer.caution else []
        return files, line("; ".join([facts, share, *photo.notes, *caution]) + ".")


def _options(strength: Any, working_size: Any, flip: Any) -> Options:
    """Validate the options in a request, which may be forged.

    Raises:
        UserError: if a value is not one that the page offers.
    """
    number = isinstance(strength, int | float) and not isinstance(strength, bool) and math.isfinite(strength)
    if not number or not isinstance(flip, bool):
        raise UserError("strength must be a number, and the flip ensemble on or off")
    offered = [size for _, size in WORKING_SIZES]
    if isinstance(working_size, bool) or working_size not in offered:
        raise UserError(f"working size: this page offers {', '.join(label for label, _ in WORKING_SIZES)}")
    return Options(strength, working_size or None, ensemble=("none", "flip")[flip])


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Make Gradio store and serve files only in a folder, and disable its analytics."""
    wanted = {
        "GRADIO_TEMP_DIR": str(folder),
        "GRADIO_EXAMPLES_CACHE": str(folder / "cache"),  # else it caches in and serves .gradio in the working directory
        "GRADIO_ALLOWED_PATHS": "",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_RUN_HISTORY": "False",  # history of results in the browser
    }
    before = {name: os.environ[name] for name in wanted if name in os.environ}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name in wanted:
            del os.environ[name]
        os.environ.update(before)


def _named(checkpoints: Sequence[str | Path]) -> dict[str, str | Path]:
    """Name each checkpoint by the shortest end of its path that is unique."""
    paths = {Path(checkpoint): checkpoint for checkpoint in checkpoints}
    if not paths:
        raise UserError("no checkpoint; give one or more, such as RUN/checkpoints/best.ckpt")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return {"/".join(path.parts[-depth:]): checkpoint for path, checkpoint in paths.items()}


def _check_size(path: Path, max_megapixels: int) -> None:
    width = height = 0
    with suppress(Exception), warnings.catch_warnings():  # other errors are reported by `read_photo`
        warnings.simplefilter("ignore")  # Pillow warns about large images
        with Image.open(path) as image:
            width, height = image.size
    if width * height > max_megapixels * 1e6:
        raise UserError(f"{path.name}: {width}x{height} is over {max_megapixels} megapixels; make it smaller first")


def _write_preview(photo: Photo, target: Path) -> None:
    scale = min(1, PREVIEW / max(photo.size))
    size = tuple(max(1, round(side * scale)) for side in photo.size)
    Image.fromarray(photo.small(size)).save(target, quality=90, subsampling=0)
