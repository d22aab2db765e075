//! The names of languages in containers: ISO 639, in two letters or three.

/// Two letters (ISO 639-1) and three (ISO 639-2/T) for each language that has both.
const SHORT: &str = "\
    aaaar ababk aeave afafr akaka amamh anarg arara asasm avava ayaym azaze babak bebel bgbul bhbih bibis bmbam bnben \
    bobod brbre bsbos cacat ceche chcha cocos crcre csces cuchu cvchv cycym dadan dedeu dvdiv dzdzo eeewe elell eneng \
    eoepo esspa etest eueus fafas ffful fifin fjfij fofao frfra fyfry gagle gdgla glglg gngrn guguj gvglv hahau heheb \
    hihin hohmo hrhrv hthat huhun hyhye hzher iaina idind ieile igibo iiiii ikipk ioido isisl itita iuiku jajpn jvjav \
    kakat kgkon kikik kjkua kkkaz klkal kmkhm knkan kokor krkau kskas kukur kvkom kwcor kykir lalat lbltz lglug lilim \
    lnlin lolao ltlit lulub lvlav mgmlg mhmah mimri mkmkd mlmal mnmon mrmar msmsa mtmlt mymya nanau nbnob ndnde nenep \
    ngndo nlnld nnnno nonor nrnbl nvnav nynya ococi ojoji omorm orori ososs papan pipli plpol pspus ptpor quque rmroh \
    rnrun roron rurus rwkin sasan scsrd sdsnd sesme sgsag sisin skslk slslv smsmo snsna sosom sqsqi srsrp ssssw stsot \
    susun svswe swswa tatam tetel tgtgk ththa titir tktuk tltgl tntsn toton trtur tstso tttat twtwi tytah uguig ukukr \
    ururd uzuzb veven vivie vovol wawln wowol xhxho yiyid yoyor zazha zhzho zuzul";

/// The other codes of three letters (ISO 639-2/B), each before the one of ISO 639-2/T.
const OLD: &str = "\
    albsqi armhye baqeus burmya chizho czeces dutnld frefra geokat gerdeu greell iceisl macmkd maomri maymsa perfas rumron \
    sloslk tibbod welcym";

/// The code of three letters for a language, in lower case, whichever of its codes is given, with or without a region
/// ("pt-BR"). None where it has not the form of a code, or means that the language is not known.
pub(crate) fn code(name: &str) -> Option<[u8; 3]> {
    let name = name.split(['-', '_']).next()?.to_ascii_lowercase();
    let in_table = |table: &str, length: usize| {
        let entry = table.split(' ').find(|entry| entry.starts_with(&name))?;
        entry.as_bytes()[length..].try_into().ok()
    };
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase());
    match name.len() {
        2 if letters => in_table(SHORT, 2),
        3 if letters && name != "und" => in_table(OLD, 3).or_else(|| name.as_bytes().try_into().ok()),
        _ => None,
    }
}

/// Whether the name is one of the codes with a short form, in lower case: not just any two or three letters.
pub(crate) fn is_listed(name: &str) -> bool {
    let in_long = |table: &str| table.split(' ').any(|entry| entry.get(entry.len() - 3..) == Some(name));
    let in_short = |table: &str| table.split(' ').any(|entry| entry.get(..entry.len() - 3) == Some(name));
    in_long(SHORT) || in_short(SHORT) || in_short(OLD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_codes_of_a_language_are_one() {
        for names in [
            &["de", "deu", "ger", "DE", "de-AT"][..],
            &["zh", "zho", "chi", "zh_Hans"],
            &["en", "eng"],
            &["nl", "nld", "dut"],
            &["qu", "que"],
        ] {
            let codes: Vec<_> = names.iter().map(|name| code(name).unwrap()).collect();
            assert!(codes.iter().all(|one| *one == codes[0]), "{names:?}");
        }
        assert_eq!(code("gsw"), Some(*b"gsw"), "a language without a short code");
    }

    #[test]
    fn a_word_of_three_letters_is_no_listed_language() {
        assert!(["de", "deu", "ger", "zho"].into_iter().all(is_listed));
        assert!(!["url", "xx", "gsw", "", "deutsch"].into_iter().any(is_listed));
    }

    #[test]
    fn what_is_no_code_is_none() {
        for name in ["", "d", "xx", "und", "english", "d3", "d3u", "dé", "日本"] {
            assert_eq!(code(name), None, "{name:?}");
        }
    }

    #[test]
    fn the_tables_are_whole() {
        assert!(SHORT.split(' ').all(|entry| entry.len() == 5));
        assert!(OLD.split(' ').all(|entry| entry.len() == 6));
        assert_eq!(SHORT.split(' ').count(), 184);
    }
}
