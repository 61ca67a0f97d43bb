"""Sequence files as genome browsers, databases and sequencers hand them out."""

import gzip
from pathlib import Path

import pytest

from discrete_lightning.design import Edit, FromSequences
from discrete_lightning.design.alphabet import DNA, PROTEIN, RNA
from discrete_lightning.design.files import read_sequences

SEQUENCE = "CCATGTCATTAAGAGGAATTTCTCTTCGTGGGTAACC"
MASKED = f"{SEQUENCE[:10]}{SEQUENCE[10:20].lower()}{SEQUENCE[20:]}"
FASTA = f">chr0:100-137 some | description\n{MASKED[:20]}\n{MASKED[20:]}\n"
FILES = {
    "plain.fa": FASTA.encode(),
    "no_suffix/genes": FASTA.encode(),
    "windows.FASTA": FASTA.replace("\n", "\r\n").encode(),
    "old_mac.fas": FASTA.replace("\n", "\r").encode(),
    "blank_lines.ffn": f"\n\n{FASTA}\n\n".encode(),
    "no_last_line_end.fna": FASTA.rstrip().encode(),
    "packed.fa.gz": gzip.compress(FASTA.encode()),
    "packed_without_saying": gzip.compress(FASTA.encode()),
    "byte_order_mark.txt": b"\xef\xbb\xbf" + FASTA.encode(),
    "notepad.seq": FASTA.encode("utf-16"),
    "latin1.fa": FASTA.replace("some", "g\u00e8ne\u0085").encode("latin-1"),
    "stop.faa": f">p\n{MASKED}*\n".encode(),
    "blocks.fa": f">p\n{MASKED[:10]} {MASKED[10:20]}\t{MASKED[20:]}".encode(),
    "comment.fa": f";made by hand\n{FASTA}".encode(),
    "reads.fastq": f"@read 1\n{MASKED}\n+\n{';' * len(MASKED)}\n".encode(),
    "long_reads.fq.gz": gzip.compress(
        f"@r\n{MASKED[:20]}\n{MASKED[20:]}\n+r\n@{'I' * 19}\n>{'I' * (len(MASKED) - 21)}\n".encode()
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_template_is_read_from_every_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(FILES[name])
    for given in (path, str(path)):
        start = Edit(given, editable=[[0, 2]])
        assert (start.length, start.template(DNA)) == (len(SEQUENCE), SEQUENCE)
    assert FromSequences(path).initial_sequences(DNA) == (SEQUENCE,)


def test_one_of_several_records(tmp_path: Path) -> None:
    path = tmp_path / "genes.fa"
    path.write_text(">a first\nACGT\n>b second\nAC\nGA\n>b\nTTTT\n")
    assert Edit(path, record="a").sequence == "ACGT"
    with pytest.raises(ValueError, match=r"genes.fa holds 3 sequences \(a, b, b\); choose one by record=NAME"):
        Edit(path)
    with pytest.raises(ValueError, match="2 of them are called 'b'"):
        Edit(path, record="b")
    with pytest.raises(ValueError, match=r"record='a' chooses a sequence of a file, and 'ACGT' is a sequence"):
        Edit("ACGT", record="a")
    assert FromSequences(str(path)).initial_sequences(DNA) == ("ACGT", "ACGA", "TTTT")


def test_a_letter_is_named_with_record_and_position(tmp_path: Path) -> None:
    path = tmp_path / "n.fa"
    path.write_text(">chr1\nACGT\nACNNACGT\n")
    for start in (Edit(path), FromSequences(path)):
        with pytest.raises(
            ValueError, match=r"'N' at position 6 \(from 0\) of record 'chr1' of .*n\.fa .*any of A, C, G, T"
        ):
            start.initial_sequences(DNA)
    path.write_text(">chr1\nACGU\n")
    with pytest.raises(ValueError, match=r"'U' at position 3 .*write T instead, or choose the alphabet RNA"):
        Edit(path).template(DNA)
    assert Edit(path).template(RNA) == "ACGU"
    path.write_text(">protein\nmks*\n")
    assert Edit(path).template(PROTEIN) == "MKS"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "a.fa is empty"),
        (b"\n;nothing else\n", "a.fa is empty"),
        (b"LOCUS       AB000001\n", "line 1: a FASTA file begins with a line '>name'.*got 'LOCUS"),
        (b"\nACGT\n", "line 2: a FASTA file begins"),
        (b">a\nAC\n>b\n\n>c\nG", "line 3: there is no sequence below '>b'"),
        (b">a\n*\n", "line 1: there is no sequence below '>a'"),
        (b"@r\nACGT\n+\nIII", "line 1: the record '@r' has 4 letters and 3 qualities: the file is cut short"),
        (b"@r\nAC\n+\nII\nACGT\n+\nIIII", "line 5: a record of FASTQ begins with '@', got 'ACGT'"),
        (b"\x1f\x8b\x08\x00rubbish", "a.fa is a damaged gzip file"),
        (gzip.compress(FASTA.encode())[:-12], "a.fa is a damaged gzip file"),
        (b"BZ\x00\x01\x02", "a.fa is not a text file"),
    ],
)
def test_damaged_files_are_named_with_the_line(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.fa"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as error:
        read_sequences(path)
    assert "\n" not in str(error.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file absent\.FASTA; a relative path starts from"):
        Edit("absent.FASTA")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        FromSequences(tmp_path)


@pytest.mark.parametrize("given", ["ACGT", [], ()])
def test_no_list_of_sequences(given: list[str]) -> None:
    with pytest.raises(ValueError, match="FromSequences needs a list of sequences, or the path of a FASTA file"):
        FromSequences(given)
    with pytest.raises(ValueError, match=r"of one length, got 2 of lengths \[0, 2\]"):
        FromSequences(["AC", ""])
