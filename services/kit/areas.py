"""Areas of GB/T 2260: a code and everything inside it."""

from services.kit.problems import Fault, Problem


def area_prefix(code: str | None) -> str:
    """What the codes of all places inside an area begin with: `330100` (Hangzhou) gives `3301`.

    None, and the whole country's `000000`, give the empty prefix. A prefix is taken as it is.

    Raises:
        Problem: 400 when it is not made of two to twelve digits.
    """
    if code is None:
        return ""
    if not (code.isascii() and code.isdigit() and 2 <= len(code) <= 12):
        message = f"area is a code of GB/T 2260, as 330106, or the beginning of one; not {code[:20]!r}"
        raise Problem(400, "invalid_area", message, faults=[Fault(message, field="area")])
    if len(code) in {9, 12} and code.endswith("000"):
        return area_prefix(code[:-3])
    return code.removesuffix("00").removesuffix("00").removesuffix("00") if len(code) == 6 else code
