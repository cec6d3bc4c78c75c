"""Just enough of Rust's grammar to measure functions: where text is code, and where each `fn` begins and ends."""

import re

# Where something that is not code may begin: a comment, a string, a raw string, a character (or a lifetime).
OPENING = re.compile(r"""//|/\*|\b(?:br|cr|r)(?P<hashes>\#*)"|\b[bc]?"|"|\bb'|'""")
CHARACTER = re.compile(r"""'(?:\\u\{[0-9A-Fa-f_]*\}|\\x[0-9A-Fa-f]{2}|\\.|[^\\'\n])'""")
FUNCTION = re.compile(r"\bfn\s+(?:r#)?(?P<name>[A-Za-z_]\w*)")


def blank(text: str) -> str:
    """Spaces for everything but line breaks, so that places stay what they were."""
    return re.sub(r"[^\n]", " ", text)


def block_comment_end(text: str, start: int) -> int:
    """Block comments nest."""
    depth, place = 0, start
    for match in re.finditer(r"/\*|\*/", text[start:]):
        depth += 1 if match.group() == "/*" else -1
        place = start + match.end()
        if depth == 0:
            return place
    return len(text)


def string_end(text: str, start: int) -> int:
    """The end of a string whose opening quote stands right before `start`."""
    place = start
    while place < len(text):
        if text[place] == "\\":
            place += 2
        elif text[place] == '"':
            return place + 1
        else:
            place += 1
    return len(text)


def not_code_end(text: str, match: re.Match) -> int:
    """Where the comment, string or character that `match` opens ends; its own end where it opens none (a lifetime)."""
    opening = match.group()
    if opening == "//":
        end = text.find("\n", match.start())
        return len(text) if end < 0 else end
    if opening == "/*":
        return block_comment_end(text, match.start())
    if match.group("hashes") is not None:
        closing = '"' + match.group("hashes")
        end = text.find(closing, match.end())
        return len(text) if end < 0 else end + len(closing)
    if opening.endswith('"'):
        return string_end(text, match.end())
    character = CHARACTER.match(text, match.end() - 1)
    return character.end() if character else match.end()


def code_only(text: str) -> str:
    """The text with comments, strings and characters blanked."""
    parts, place = [], 0
    while match := OPENING.search(text, place):
        end = not_code_end(text, match)
        parts += [text[place : match.start()], blank(text[match.start() : end])]
        place = end
    return "".join(parts) + text[place:]


def body_end(code: str, place: int) -> int | None:
    """The end of the function whose signature begins at `place`; None where it has no body."""
    depth = 0
    while place < len(code):
        sign = code[place]
        if sign in "([":
            depth += 1
        elif sign in ")]":
            depth -= 1
        elif sign == ";" and depth == 0:
            return None
        elif sign == "{" and depth == 0:
            break
        place += 1
    braces = 0
    while place < len(code):
        if code[place] == "{":
            braces += 1
        elif code[place] == "}":
            braces -= 1
            if braces == 0:
                return place + 1
        place += 1
    return None


def functions(text: str) -> list[tuple[str, int, int]]:
    """Every function with a body: its name, its first line, how many lines it has."""
    code = code_only(text)
    found = []
    for match in FUNCTION.finditer(code):
        end = body_end(code, match.end())
        if end is not None:
            first = code.count("\n", 0, match.start()) + 1
            found.append((match.group("name"), first, code.count("\n", match.start(), end) + 1))
    return found
