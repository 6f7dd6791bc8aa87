"""A command in one text, split as a shell would (github.com/mattn/go-shellwords is what Docker's programs use)."""


class BadWords(ValueError):
    """A quote is not closed."""


def split(text: str) -> list[str]:
    """Return the words of a command. Nothing in it is expanded. Raises BadWords."""
    words: list[str] = []
    word: list[str] = []
    quote, is_escaped, is_word = "", False, False
    for letter in text:
        if is_escaped:
            word.append(letter)
            is_escaped, is_word = False, True
        elif letter == "\\" and quote != "'":
            is_escaped = True
        elif quote:
            if letter == quote:
                quote = ""
            else:
                word.append(letter)
        elif letter in "'\"":
            quote, is_word = letter, True
        elif letter in " \t\r\n":
            if is_word:
                words.append("".join(word))
            word, is_word = [], False
        else:
            word.append(letter)
            is_word = True
    if quote or is_escaped:
        raise BadWords(f"the {quote or 'backslash'} in it is not closed")
    return [*words, "".join(word)] if is_word else words
