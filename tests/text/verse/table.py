"""Lines and what the rules of metre say of them: the table fixes the rules."""

# Shakespeare, and lines made up to try a rule; marks as `Metre().scan` gives them
PLAIN = "x/x/x/x/x/"
WEAK_END = PLAIN + "x"
TURNED = "/xx/x/x/x/"
TURNED_WEAK_END = TURNED + "x"

LINES: list[tuple[str, str | None]] = [
    # strict
    ("Shall I compare thee to a summer's day?", PLAIN),
    ("Thou art more lovely and more temperate:", PLAIN),
    ("So long as men can breathe, or eyes can see,", PLAIN),
    ("So long lives this, and this gives life to thee.", PLAIN),
    ("When I do count the clock that tells the time,", PLAIN),
    ("And see the brave day sunk in hideous night;", PLAIN),  # hideous: two syllables
    ("From fairest creatures we desire increase,", PLAIN),  # desire: two syllables
    ("His tender heir might bear his memory:", PLAIN),  # the last syllable of memory, promoted
    ("And only herald to the gaudy spring,", PLAIN),
    ("But thy eternal summer shall not fade,", PLAIN),
    ("Now is the winter of our discontent", PLAIN),
    ("But, soft! what light through yonder window breaks?", PLAIN),
    ("It is the east, and Juliet is the sun.", PLAIN),  # Juliet: two syllables
    ("If music be the food of love, play on;", PLAIN),
    ("The course of true love never did run smooth;", PLAIN),
    ("Once more unto the breach, dear friends, once more;", PLAIN),
    ("Shall I not then be stay'd, but walk in verse?", PLAIN),
    ("Tomorrow, and tomorrow, and tomorrow", WEAK_END),
    ("To the last syllable of recorded time,", None),  # syllable is said in three, so that eleven
    ("That I should love a bright particular star", PLAIN),  # particular: three syllables
    ("Rough winds do shake the darling buds of May,", PLAIN),
    ("And summer's lease hath all too short a date:", PLAIN),
    ("When in disgrace with fortune and men's eyes", PLAIN),
    ("Let me not to the marriage of true minds", PLAIN),  # words of one syllable are free
    ("My mistress' eyes are nothing like the sun;", PLAIN),
    ("That time of year thou mayst in me behold", PLAIN),
    ("When yellow leaves, or none, or few, do hang", PLAIN),
    ("Bare ruin'd choirs, where late the sweet birds sang.", PLAIN),  # ruin'd: two; choirs: one
    ("Which like two spirits do suggest me still:", PLAIN),  # spirits: one
    ("And heaven and earth shall know that he is brave.", PLAIN),  # heaven: one
    ("The heaven is dark, and heaven and earth are still.", PLAIN),  # two, then one
    ("The pow'r of heav'n is greater than the sea.", PLAIN),
    ("The banished men were banish'd from the hall.", PLAIN),  # banished: three
    ("They banished all the men that I had known.", PLAIN),  # banished: two
    ("The banishèd and wretchèd of the town", PLAIN),  # -èd: always a syllable
    ("He loved the king, and so belovèd died.", PLAIN),
    ("'Tis but thy name that is my enemy;", PLAIN),
    ("'Twas o'er the hill that ne'er a man had gone,", PLAIN),
    ("She runneth far and goeth all alone;", PLAIN),
    ("Thou know'st the way, and knowest not the end.", PLAIN),
    ("Th' expense of time is not a waste of love.", PLAIN),  # th': no syllable
    ("I will not do 't, nor will I see 't again.", PLAIN),
    ("The self-same moon that lit the well-known sea", PLAIN),  # compounds are free
    ("O THOU WHOSE NAME IS WRITTEN ON THE WIND", PLAIN),  # case does not matter
    ("Shall I compare thee to a summer’s day?", PLAIN),  # nor the kind of apostrophe
    # freedoms
    ("To be, or not to be: that is the question:", WEAK_END),
    ("Whether 'tis nobler in the mind to suffer", TURNED_WEAK_END),
    ("A woman's face with nature's own hand painted,", WEAK_END),
    ("Music to hear, why hear'st thou music sadly?", TURNED_WEAK_END),
    ("Looking on darkness which the blind do see:", TURNED),
    ("Feeding on that which doth preserve the ill,", TURNED),
    ("Pity the world, or else this glutton be,", TURNED),
    ("Making a famine where abundance lies,", TURNED),
    ("Nature herself was proud of his designs", TURNED),
    # not in metre
    ("", None),
    ("...", None),
    ("Day", None),
    ("The king is dead.", None),  # four syllables
    ("The king is dead and all the men are gone", PLAIN),
    ("The king is dead and all the men are gone away", None),  # twelve
    ("The king is dead and all the men are", None),  # nine
    ("The king is dead and all the men are going away", None),
    ("I wander through the mountain villages alone", None),
    ("The wandering of the lonely man is done", PLAIN),  # wandering: two
    ("Upon under the hill and over the", None),
    ("The lovely begin to lovely begin today", None),
    ("Delight delight delight delight delight", PLAIN),  # no rule of metre against it
    ("Lovely lovely lovely lovely lovely", None),  # x in each strong place
    ("Lovely delight delight delight delight", TURNED),
    ("The slithy toves did gyre and gimble there", None),  # unknown words
    ("The king had 99 and all were gone", None),  # a number is not a word
    ("Understand the king and understand the men", None),  # eleven, and the stress of understand in weak places
    ("The comment on the comment was a wise", PLAIN),
    ("The machine machine machine machine machine", None),
]
