"""Short forms of given names, English and French: what people are called, and what their papers say.

A small table of our own. A name that is short for two others is given the likelier one.
"""

from typing import Final

_SHORT_FORMS: Final = """
abigail abby gail; albert al bert bertie; alexander alex alec sandy alexandre alexandra; alfred alf alfie fred;
andrew andy drew andre; anthony tony antony antoine anton; arthur art artie; barbara barb babs barbie;
benjamin ben benny benji; bernard bernie; bradley brad; caroline carol carrie caro; catherine cathy kate katie kathy
katherine kathryn cath kat cat kitty; charles charlie chuck chas charley; charlotte lottie; christine chris tina
christina chrissy christelle; christopher kit topher christophe; cynthia cindy; daniel dan danny; david dave davey;
deborah deb debbie debra; dominic dom dominique; donald don donny; dorothy dot dottie dolly; edward ed eddie ned ted
teddy edouard; eleanor ellie nell nora; elizabeth liz beth lizzie betty eliza lisa libby elisabeth; emily em emmy
emilie; eugene gene; florence flo florie; frances fran francine; francis frank frankie francois; frederick freddie
freddy frederic rick; gabriel gabe gaby; geoffrey geoff jeff jeffrey jeffery; george georgie georges; gerald gerry;
gregory greg gregg gregoire; harold hal; helen helene nellie; henry harry hank henri; isabelle isabel isabella izzy
bella; jacqueline jackie jacquie; jacob jake jacky; james jim jimmy jamie; janet jan; jennifer jen jenny jenn; jessica
jess jessie; john johnny jack jean johnnie; jonathan jon jonny nathan; joseph joe joey jose josef; joshua josh; judith
judy; julia julie; kenneth ken kenny; kimberly kim; lawrence larry laurie laurent laurence; leonard len lenny leo;
leslie les; louis lou louie lewis; madeleine maddie maddy; margaret maggie meg peggy marge margot marguerite; marie
maria mary; martin marty; matthew matt matty matthieu mathieu; melissa mel missy; michael mike mick mickey mikey michel;
nancy nan; natalie nat nathalie; nathaniel nate; nicholas nick nicky nicolas nico; pamela pam; patricia pat patty trish
tricia; patrick paddy; peter pete pierre; philip phil phillip philippe; rachel rach; raymond ray; rebecca becky becca;
richard dick richie rich rik; robert bob bobby rob robbie bert; roger rodge; ronald ron ronnie; samantha sam sammy;
samuel sammie; sandra sandie; sebastian seb bastian sebastien; stephanie steph; stephen steve steven stevie stephane;
susan sue susie suzanne suzie susanna; theodore theo; theresa terry tess tessa therese; thomas tom tommy thom;
timothy tim timmy; valerie val; veronica ronnie veronique vero; victoria vicky vicki tori; vincent vince vinny;
virginia ginny; walter walt wally; william bill billy will willie liam guillaume; zachary zach zack
"""


def roots() -> dict[str, str]:
    """Each short form with the name that it stands for."""
    found: dict[str, str] = {}
    for line in _SHORT_FORMS.split(";"):
        root, *short_forms = line.split()
        for form in short_forms:
            found.setdefault(form, root)
    return {form: root for form, root in found.items() if form not in set(found.values())}
