"""Given names that are common somewhere: by them a column of given names is recognised. A small table of our own.

It need not be complete: of a column of given names a third is among them, of a column of surnames hardly any.
"""

from typing import Final

_COMMON: Final = """
abdul abdullah adam adele adrian adriana agnes ahmed aicha aisha akira alain alan alana albert alberto alejandro alessandra
alessandro alexandra alexis alfonso ali alice alicia alison aline amal amanda amelie amina amir amit amy ana anders
andrea andreas andrzej angela angelo anil anita anja anna annabelle anne annette annie antonella antonia antonio anya
arnaud astrid audrey aurelie aurore axel ayse barbara beatrice beatriz benoit bernadette bertrand birgit bjorn boris
brandon brenda brian brigitte bruce bruno camille carl carla carlo carlos carmen carol celine chantal charlene
chiara chloe christelle christian christiane christina christophe claire clara claude claudia claudine clement
colette colin corinne cristina damien daniela danielle david debora delphine denis denise derek diana diane didier
diego dieter dietmar dilip dimitri dirk dmitri dolores dominique donna doris douglas edith eduardo edwin eileen
elena eliane elias elif elisa elise ella elodie elsa emil emilia emma emmanuel emre enrico enrique eric erica erik
erika ernst estelle esther ethan etienne eva eve evelyn fabien fabienne fabio fabrice fatima fatma felix ferdinand
fernando filip fiona florence florent florian francesca francesco francisco franck francoise frank franz franziska
friedrich gael gareth geoffrey georg gerard gerhard ghislaine gilbert gilles giorgio giovanna giovanni gisele giulia
giuseppe gloria graham grazyna greta guido guillaume gunter gustav guy hakan hamza hannah hans harald hassan heather
heidi heike heinz helene helga helmut henrik herbert hermann herve hiroshi holger horst hugo hugues hussein ian ibrahim
ida igor inga ingrid irene irina iris isabella isabelle ivan jacques jan jana jane janine javier jean jeanine jeanne
jens jeremy jerome jerzy jesus jill joachim joan joanna jochen joel johan johann johannes jolanta jordi jorg jorge jose
josefa joseph josephine josiane joyce juan juana julia julian juliane julie julien juliette jurgen justine kamal karen
karim karin karl karla karsten katarina katarzyna katharina katja katrin kay keith kevin khadija khalid klaus konrad
krystyna kumar kurt kyle lars laura laure leila lena leo leon leonie lea liam lidia lilian lina linda lionel lisa loic
lorena lorenzo lothar luc luca lucas lucia lucie luigi luis luisa lukas luke lydia lynn mads magali magdalena malgorzata
malik manfred manon manuel manuela marc marcel marco marcus marek margaux margit maria marian marianne marie marina mario
marion marius mark markus marlene marta marthe martin martina martine mason massimo mateo mathilde mathis matteo matthias
maureen maurice mauro max maxime megan mehdi mehmet melanie mercedes mia michaela michal michele michelle miguel mikhail
mila mireille miriam mohamed mohammed moira monica monika monique morgan muhammad muriel murielle mustafa myriam nadia
nadine naomi natacha natalia natasha nathalie nicole niels nigel nikolai nils nina noah noel nora norbert norman olaf oleg
olga oliver olivia olivier omar oscar otto pablo paola paolo pascal patrice patrizia paul paula pauline pavel pedro per
petra philippe pia piotr pooja priya quentin rachid rafael rainer rajesh ralf ramon raphael raul regina regine
reinhard remi remy rene renate renee rita roberta roberto rodrigo roger roland rolf romain rosa rosalie rosario rose
roxane rudolf ruth ryan sabine sabrina said salvatore sandrine sandro sanjay sara sarah scott sean sebastien sergei
sergey sergio sharon sheila shirley sibylle silke silvia simon simona simone sofia solange sonia sophia sophie stefan
stefania stefano stephan stephane stuart suresh susanne svetlana sven sylvain sylvie tamara tanja tatiana teresa thea
theo thibault thierry thomas thorsten tobias tomas tomasz torsten trevor tristan ulrich ulrike umberto ursula ute uwe
valentin valentina valerie vanessa vera victor vijay viktor vincent vincenzo virginie vito vivian vladimir volker wanda
werner wilhelm wolfgang xavier yann yannick yasmin yasmine yolande youssef yuki yusuf yves yvette yvonne zoe
александр алексей анастасия анатолий андрей анна антон борис валентина василий вера виктор виктория владимир галина
дарья денис дмитрий евгений екатерина елена иван игорь ирина константин людмила максим мария марина михаил надежда
наталья николай оксана олег ольга павел петр роман светлана сергей софия татьяна юлия юрий
αλεξανδρος αννα γεωργιος δημητρης δημητριος ελενη ιωαννης κωνσταντινος κατερινα μαρια νικολαος παναγιωτης σοφια χρηστος
"""  # noqa: RUF001  # Cyrillic and Greek letters are meant

COMMON: Final = frozenset(_COMMON.split())
