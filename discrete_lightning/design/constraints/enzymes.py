"""Recognition sites of restriction enzymes by name: the usual ones, and with Biopython all of REBASE.

REBASE: https://doi.org/10.1093/nar/gku1046. Biopython: https://doi.org/10.1093/bioinformatics/btp163.
"""

from difflib import get_close_matches
from importlib import import_module
from typing import Final

_SITES: Final = {
    "AarI": "CACCTGC", "AatII": "GACGTC", "AclI": "AACGTT", "AcuI": "CTGAAG", "AflII": "CTTAAG", "AgeI": "ACCGGT",
    "AluI": "AGCT", "ApaI": "GGGCCC", "ApaLI": "GTGCAC", "AscI": "GGCGCGCC", "AseI": "ATTAAT", "AsiSI": "GCGATCGC",
    "AvrII": "CCTAGG", "BamHI": "GGATCC", "BbsI": "GAAGAC", "BbvI": "GCAGC", "BclI": "TGATCA", "BglII": "AGATCT",
    "BpiI": "GAAGAC", "BsaI": "GGTCTC", "BsgI": "GTGCAG", "BsiWI": "CGTACG", "BsmAI": "GTCTC", "BsmBI": "CGTCTC",
    "BsmI": "GAATGC", "BspEI": "TCCGGA", "BspHI": "TCATGA", "BspQI": "GCTCTTC", "BsrGI": "TGTACA", "BssHII": "GCGCGC",
    "BstBI": "TTCGAA", "BstEII": "GGTNACC", "BstXI": "CCANNNNNNTGG", "BtgZI": "GCGATG", "BtsI": "GCAGTG", "ClaI": "ATCGAT",
    "DpnI": "GATC", "DraI": "TTTAAA", "DraIII": "CACNNNGTG", "EagI": "CGGCCG", "EarI": "CTCTTC", "EcoRI": "GAATTC",
    "EcoRV": "GATATC", "Esp3I": "CGTCTC", "FokI": "GGATG", "FseI": "GGCCGGCC", "HaeIII": "GGCC", "HhaI": "GCGC",
    "HincII": "GTYRAC", "HindIII": "AAGCTT", "HinfI": "GANTC", "HpaI": "GTTAAC", "HpaII": "CCGG", "KasI": "GGCGCC",
    "KpnI": "GGTACC", "LguI": "GCTCTTC", "MboI": "GATC", "MfeI": "CAATTG", "MluI": "ACGCGT", "MlyI": "GAGTC",
    "MmeI": "TCCRAC", "MscI": "TGGCCA", "MseI": "TTAA", "MspI": "CCGG", "NaeI": "GCCGGC", "NarI": "GGCGCC",
    "NcoI": "CCATGG", "NdeI": "CATATG", "NheI": "GCTAGC", "NotI": "GCGGCCGC", "NruI": "TCGCGA", "NsiI": "ATGCAT",
    "PacI": "TTAATTAA", "PaqCI": "CACCTGC", "PciI": "ACATGT", "PmeI": "GTTTAAAC", "PmlI": "CACGTG", "PstI": "CTGCAG",
    "PvuI": "CGATCG", "PvuII": "CAGCTG", "RsaI": "GTAC", "SacI": "GAGCTC", "SacII": "CCGCGG", "SalI": "GTCGAC",
    "SapI": "GCTCTTC", "Sau3AI": "GATC", "SbfI": "CCTGCAGG", "ScaI": "AGTACT", "SfiI": "GGCCNNNNNGGCC", "SmaI": "CCCGGG",
    "SnaBI": "TACGTA", "SpeI": "ACTAGT", "SphI": "GCATGC", "SrfI": "GCCCGGGC", "SspI": "AATATT", "StuI": "AGGCCT",
    "SwaI": "ATTTAAAT", "TaqI": "TCGA", "XbaI": "TCTAGA", "XcmI": "CCANNNNNNNNNTGG", "XhoI": "CTCGAG", "XmaI": "CCCGGG",
    "ZraI": "GACGTC",
}  # fmt: skip


def recognition_site(enzyme: str) -> str:
    """The site of an enzyme, in IUPAC codes of DNA. The case of the name does not matter.

    Raises:
        ValueError: there is no such enzyme, or it is not built in and Biopython is not installed.

    Example:
        >>> recognition_site("BsaI"), recognition_site("ecori")
        ('GGTCTC', 'GAATTC')
    """
    built_in = {name.lower(): site for name, site in _SITES.items()}
    if enzyme.lower() in built_in:
        return built_in[enzyme.lower()]
    try:
        known = import_module("Bio.Restriction").AllEnzymes
    except ImportError:
        near = get_close_matches(enzyme, _SITES, n=1)
        meant = f"; did you mean {near[0]}?" if near else "."
        raise ValueError(
            f"{enzyme!r} is none of the {len(_SITES)} enzymes that are built in{meant} For all enzymes of REBASE: "
            "pip install 'discrete-lightning[biopython]'"
        ) from None
    sites = {each.__name__.lower(): str(each.site) for each in known}
    if enzyme.lower() not in sites:
        names = [each.__name__ for each in known]
        near = get_close_matches(enzyme, names, n=1)
        raise ValueError(f"REBASE has no enzyme {enzyme!r}" + (f"; did you mean {near[0]}?" if near else ""))
    return sites[enzyme.lower()]
