"""Motif files as databases and tools hand them out: the same counts from each, or one line that says what is wrong."""

import gzip
from pathlib import Path

import pytest
import torch

from discrete_lightning.design.files import read_motif, read_motifs
from discrete_lightning.design.oracles import MotifScan, read_jaspar

COUNTS = [[20, 0, 1, 35, 2], [1, 38, 0, 2, 0], [3, 1, 39, 0, 1], [16, 1, 0, 3, 37]]  # 40 sites
SHARES = [[count / 40 for count in row] for row in COUNTS]
BY_POSITION = list(zip(*COUNTS, strict=True))


def jaspar(
    form: str = "{letter}  [ {row} ]",
    sep: str = "  ",
    rows: list[list[float]] | list[list[int]] = COUNTS,
    head: str = ">ZZ1.1 TOY",
) -> str:
    lines = [
        form.format(letter=letter, small=letter.lower(), row=sep.join(map(str, row)))
        for letter, row in zip("ACGT", rows, strict=True)
    ]
    return "\n".join([head, *lines, ""])


MEME = (
    "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nMOTIF ZZ1.1 TOY\n"
    "letter-probability matrix: alength= 4 w= 5 nsites= 40 E= 0\n"
    + "".join(f" {'  '.join(f'{n / 40:.6f}' for n in row)}\n" for row in BY_POSITION)
    + "URL http://example.org\n"
)
TRANSFAC = (
    "AC  ZZ1.1\nXX\nID  TOY\nXX\nP0      A      C      G      T\n"
    + "".join(f"{i:02}  {'  '.join(map(str, row))}  N\n" for i, row in enumerate(BY_POSITION, 1))
    + "XX\n//\n"
)
FILES = {
    "a.jaspar": jaspar().encode(),
    "tabs.jaspar": jaspar("{letter}\t[{row}]", "\t").encode(),
    "windows.jaspar": jaspar().replace("\n", "\r\n").encode(),
    "byte_order_mark.jaspar": b"\xef\xbb\xbf" + jaspar().encode(),
    "glued.jaspar": jaspar("{letter}[{row}]").encode(),
    "small_rows.jaspar": jaspar("{small} [{row}]").encode(),
    "no_brackets.jaspar": jaspar("{letter} {row}").encode(),
    "bars.pfm": jaspar("{letter} | {row}").encode(),
    "old.pfm": jaspar("{row}", "\t").encode(),
    "no_header.txt": jaspar("{row}", head="").encode(),
    "hocomoco.pcm": (">ZZ1.1\n" + "\n".join("\t".join(map(str, row)) for row in BY_POSITION)).encode(),
    "latin1.jaspar": jaspar(head=">ZZ1.1 f\u00e4ktor").encode("latin-1"),
    "a.jaspar.gz": gzip.compress(jaspar().encode()),
    "a.meme": MEME.encode(),
    "without_width.meme": MEME.replace("w= 5 ", "").encode(),
    "a.transfac": TRANSFAC.encode(),
    "another_order.transfac": TRANSFAC.replace("A      C", "A      G")
    .replace("G      G", "G      C")
    .replace("20  1  3  16", "20  3  1  16")
    .replace("0  38  1  1", "0  1  38  1")
    .replace("1  0  39  0", "1  39  0  0")
    .replace("35  2  0  3", "35  0  2  3")
    .replace("2  0  1  37", "2  1  0  37")
    .encode(),
}


@pytest.mark.parametrize("name", FILES)
def test_the_same_counts_from_every_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    (motif,) = read_motifs(path)
    torch.testing.assert_close(motif.counts, torch.tensor(COUNTS, dtype=torch.float64), atol=1e-3, rtol=0.0)
    assert motif.names[:1] == (() if name == "no_header.txt" else ("ZZ1.1",))


def test_probabilities_are_those_of_100_sites_unless_the_file_says_more(tmp_path: Path) -> None:
    path, percent = tmp_path / "shares.jaspar", 100 * torch.tensor(SHARES, dtype=torch.float64)
    path.write_text(jaspar(rows=SHARES))
    torch.testing.assert_close(read_motif(path).counts, percent)
    path.write_text(jaspar(rows=[[round(share, 2) for share in row] for row in SHARES]))
    torch.testing.assert_close(read_motif(path).counts, percent, atol=1.5, rtol=0.0)
    path.write_text(MEME.replace("nsites= 40", ""))
    torch.testing.assert_close(read_motif(path).counts, percent / 5, atol=1e-3, rtol=0.0)
    path.write_text(jaspar(rows=[[count + 0.5 for count in row] for row in COUNTS]))  # weighted counts
    assert read_motif(path).counts[0].tolist() == [20.5, 0.5, 1.5, 35.5, 2.5]


def test_one_of_several_motifs(tmp_path: Path) -> None:
    path = tmp_path / "two.jaspar"
    path.write_text(jaspar() + jaspar(head=">ZZ2.1 OTHER").replace("20", "99"))
    with pytest.warns(
        UserWarning, match=r"two.jaspar holds 2 motifs \(ZZ1.1 TOY, ZZ2.1 OTHER\), and the first is used"
    ):
        assert MotifScan(path).weight.equal(MotifScan(path, name="ZZ1.1").weight)
    assert float(read_motif(path, "OTHER").counts[0, 0]) == 99
    with pytest.raises(ValueError, match=r"0 of its 2 motifs are called 'JUN'; they are ZZ1.1 TOY, ZZ2.1 OTHER"):
        MotifScan(path, name="JUN")


def test_rows_without_letters_are_letters_unless_their_sums_say_otherwise() -> None:
    assert read_jaspar("1 2 3 4\n4 3 2 1\n2 2 3 3\n9 1 0 5\n")[3].tolist() == [9, 1, 0, 5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["rows A, C, G, T", "none"]),
        ("A [1 2]\nC [1 2]\nG [1 2]\n", ["rows A, C, G, T"]),
        ("A [1 2]\nC [1 2]\nG [1 2]\nT [1]\n", ["T: 1 numbers"]),
        ("A [1 x]\nC [1 2]\nG [1 2]\nT [1 2]\n", ["line 1", "something other than numbers", "x"]),
        (">M\nA [1,5]\n", ["line 2", "something other than numbers"]),
        ("A [0 1]\nC [0 1]\nG [0 1]\nT [0 1]\n", ["all counts of a position are 0"]),
        ("A [-1]\nC [1]\nG [1]\nT [1]\n", ["negative", "log-odds"]),
        ("A [nan]\nC [1]\nG [1]\nT [1]\n", ["not finite"]),
        ("A [1]\nC [1]\nA [1]\nT [1]\n", ["line 3", "a second row A"]),
        ("A [1]\nC [1]\nG [1]\nU [1]\n", ["line 4", "'U [1]'", "not a row A, C, G or T", "MEME"]),
        ("<?xml version='1.0'?>\n", ["line 1", "JASPAR, PFM, MEME and TRANSFAC"]),
        (">M\nA [1 0]\nC [0 0]\nG [0 1]\nT [0 0]\n", ["matrix 'M'", "counts of one site or probabilities", "number of sites"]),
        ("A [.5 .5]\nC [.2 .5]\nG [.1 0]\nT [.1 0]\n", ["neither counts nor probabilities", "position 1 has the sum 0.9"]),
        ("1 2 3 4\n4 3 2 1\n2 2 3 3\n1 1 1 7\n", ["rows without letters", "write these letters"]),
        ("1 2 3 9\n4 3 2 1\n2 2 3 3\n1 1 1 7\n5 5 5 5\n", ["rows without letters", "write these letters"]),
        ("1 2 3\n4 5 6\n7 8 9\n", ["rows A, C, G, T", "0: 3 numbers"]),
    ],
)  # fmt: skip
def test_damaged_matrices(text: str, words: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        read_jaspar(text)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MEME.replace("ALPHABET= ACGT", "ALPHABET= ACDEFGHIKLMNPQRSTVWY"), "line 3: motifs of DNA"),
        (
            MEME.replace("0.500000", "0.300000"),
            "line 9: a row of a letter-probability matrix has 4 numbers with the sum 1",
        ),
        (MEME.replace("w= 5", "w= 6"), "line 14: .*got 'URL"),
        (MEME[: MEME.index(" 0.875")], "line 12: .*got 'the end of the file'|line 12: .*got ''"),
        (MEME[: MEME.index("letter")], "holds no line 'letter-probability matrix:'"),
        (TRANSFAC.replace("      T\n", "\n"), "line 5: the columns A, C, G, T were expected"),
        (TRANSFAC.replace("02  0  38", "02  0  x"), "line 7: a position has 4 numbers"),
        (TRANSFAC.replace("02  0  38  1  1", "02  0  0  0  0"), "matrix 'ZZ1.1 TOY', is not a matrix of counts"),
        (TRANSFAC[: TRANSFAC.index("01")], "holds no rows of counts"),
    ],
)
def test_damaged_files_of_other_formats(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.motif"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as error:
        read_motifs(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
