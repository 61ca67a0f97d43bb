"""Words of early modern English that a dictionary of today lacks, or says otherwise, by their sounds."""

# word=sounds, and the next way to say it after "/"; sounds as in phones.py
_TABLE = """
'tis=T IH1 Z;'twas=T W AA1 Z;'twere=T W ER1;'twill=T W IH1 L;'twould=T W UH1 D;'gainst=G EH1 N S T/G EY1 N S T
'twixt=T W IH1 K S T;'mongst=M AH1 NG S T;'tween=T W IY1 N;'fore=F AO1 R;'scape=S K EY1 P;'faith=F EY1 TH;'em=EH1 M/AH1 M
o'er=AO1 R/OW1 ER0;e'er=EH1 R;ne'er=N EH1 R;e'en=IY1 N;ta'en=T EY1 N;ha'=HH AE1;wi'=W IH1;i'=IH1;o'=AH1;a'=AH1;by'r=B AY1 R
th'=DH/DH AH0;t'=T;'t=T;'s=Z;'st=S T;'d=D;'ll=L;thou'rt=DH AW1 R T;thou'lt=DH AW1 L T;thou'dst=DH AW1 D S T
thou=DH AW1;thee=DH IY1;thy=DH AY1;thine=DH AY1 N;ye=Y IY1;hath=HH AE1 TH;doth=D AH1 TH/D AO1 TH;dost=D AH1 S T;hast=HH AE1 S T
art=AA1 R T;wilt=W IH1 L T;shalt=SH AE1 L T;didst=D IH1 D S T;canst=K AE1 N S T;wouldst=W UH1 D S T;shouldst=SH UH1 D S T
couldst=K UH1 D S T;hadst=HH AE1 D S T;mayst=M EY1 S T;wast=W AA1 S T;wert=W ER1 T;mightst=M AY1 T S T;must=M AH1 S T;durst=D ER1 S T
prithee=P R IH1 DH IY0;sirrah=S IH1 R AH0;withal=W IH0 DH AO1 L;methinks=M IY2 TH IH1 NG K S;methought=M IY2 TH AO1 T
signior=S IY1 N Y ER0;entreat=EH0 N T R IY1 T;alack=AH0 L AE1 K;jove=JH OW1 V;forbear=F AO0 R B EH1 R;nought=N AO1 T
vouchsafe=V AW2 CH S EY1 F;hie=HH AY1;villany=V IH1 L AH0 N IY0/V IH1 L N IY0;belike=B IH0 L AY1 K;haply=HH AE1 P L IY0
sooth=S UW1 TH;forsooth=F ER0 S UW1 TH;whoreson=HH AO1 R S AH0 N;whereof=W EH2 R AH1 V/W EH1 R AH2 V;yond=Y AA1 N D
beauteous=B Y UW1 T IY0 AH0 S/B Y UW1 T Y AH0 S;beshrew=B IH0 SH R UW1;ope=OW1 P;curst=K ER1 S T;wot=W AA1 T;woful=W OW1 F AH0 L
burthen=B ER1 DH AH0 N;sith=S IH1 TH;requite=R IH0 K W AY1 T;piteous=P IH1 T IY0 AH0 S/P IH1 T Y AH0 S;afeard=AH0 F IH1 R D
betimes=B IH0 T AY1 M Z;choler=K AA1 L ER0;chid=CH IH1 D;holp=HH OW1 L P;meed=M IY1 D;rend=R EH1 N D;avaunt=AH0 V AO1 N T
worser=W ER1 S ER0;amain=AH0 M EY1 N;welkin=W EH1 L K IH0 N;prate=P R EY1 T;rheum=R UW1 M;weal=W IY1 L;perchance=P ER0 CH AE1 N S
shrew=SH R UW1;parle=P AA1 R L;enow=IH0 N AW1;afore=AH0 F AO1 R;affright=AH0 F R AY1 T;verily=V EH1 R AH0 L IY0;yare=Y EH1 R
clime=K L AY1 M;eyne=AY1 N;raught=R AO1 T;bewray=B IH0 R EY1;betwixt=B IH0 T W IH1 K S T;anon=AH0 N AA1 N;gainsay=G EY0 N S EY1
bethink=B IH0 TH IH1 NG K;reproof=R IH0 P R UW1 F;mischance=M IH0 S CH AE1 N S;importune=IH2 M P AO1 R T Y UW0 N
brav'ry=B R EY1 V R IY0;wreath=R IY1 TH;saith=S EH1 TH;doit=D OY1 T;swoon=S W UW1 N;cuckold=K AH1 K AH0 L D;jesu=JH IY1 Z UW0
"""
SOUNDS = {
    word: [said.split() for said in sounds.split("/")]
    for word, _, sounds in (entry.partition("=") for entry in _TABLE.replace("\n", ";").split(";") if entry)
}

# Two syllables that verse may say as one; so may what is built on them ("heavenly", "spirits")
ONE_SYLLABLE = frozenset(
    [
        "heaven",
        "seven",
        "eleven",
        "even",
        "given",
        "driven",
        "risen",
        "fallen",
        "stolen",
        "power",
        "flower",
        "hour",
        "tower",
        "shower",
        "bower",
        "spirit",
        "being",
        "devil",
        "evil",
        "prayer",
        "cruel",
        "jewel",
        "either",
        "neither",
        "whether",
        "hither",
        "thither",
        "whither",
        "ever",
        "never",
        "over",
        "having",
        "seeing",
        "doing",
        "going",
        "knowing",
        "dying",
        "lying",
        "flying",
        "tyrant",
        "quiet",
        "riot",
        "lion",
        "giant",
        "diet",
        "poet",
        "violet",
        "society",
        "warrior",
        "iron",
        "fire",
        "desire",
    ]
)

# Spellings of then, and those of now
RESPELT = (
    ("our", "or"), ("ours", "ors"), ("ence", "ense"), ("ences", "enses"), ("oured", "ored"), ("ouring", "oring"),
    ("ise", "ize"), ("re", "er"), ("ful", "full"), ("ll", "l"), ("lled", "led"), ("lling", "ling"),
)  # fmt: skip
