"""HTML documents that need no other file: a template in the shared frame, with its styles and scripts included."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

FRAME = "analyze.web"


def document(package: str, template: str, *, styles: Sequence[str], scripts: Sequence[str], **content: Any) -> str:
    """Fill in a package's template, which extends the frame's base.html, and return the HTML document.

    styles, scripts: the text of each, in order; the frame's own style comes first.

    Raises jinja2.UndefinedError if the template uses a name that is not in `content`.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(FRAME)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    # In a script, "<\\/script" is the same text as "</script", but does not end it.
    inline = [Markup(script.replace("</script", "<\\/script")) for script in scripts]
    style = Markup("\n".join([resource(FRAME, "base.css"), *styles]))
    return environment.get_template(template).render(style=style, scripts=inline, **content)


def resource(package: str, name: str) -> str:
    """Return the text of a file beside a package's templates."""
    return (files(package) / "templates" / name).read_text(encoding="utf-8")
