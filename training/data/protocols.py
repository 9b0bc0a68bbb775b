"""The two ways of cross-validating, and what the thesis' asks for."""

from lensweep.ground.errors import InputError

PROTOCOLS = ("grouped", "thesis")


def check_augmented(protocol: str, lenses: int, others: int) -> None:
    """Refuse numbers of augmented cutouts that a protocol has no use for.

    Parameters
    ----------
    protocol : str
        One of `PROTOCOLS`.
    lenses, others : int
        To how many cutouts each class is augmented beforehand; 0 and 0: it is not.

    Raises
    ------
    InputError
        If one of them is 0 alone, or both are where augmenting comes before splitting.
    """
    if (lenses > 0) != (others > 0):
        raise InputError("augmented_lenses and augmented_others: give both or neither")
    if protocol == "thesis" and not lenses:
        raise InputError(
            "protocol = 'thesis': augments before it splits; give augmented_lenses and "
            "augmented_others (the thesis: 15000 and 13239)"
        )
