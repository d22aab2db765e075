//! What libav may open: the lists it is given with every source.
//!
//! The readers of playlists (HLS, DASH, SDP, concat and their like) open whatever a file names, and with our own I/O no
//! protocol list of libav's stops them. So a file is opened only by a container that is listed here, and decoded only
//! by an audio decoder. Of the containers one asks for another file, the next part of a recording (`mlv`): the list of
//! protocols, which has none, refuses it.

/// No protocol has this name: nothing but the source itself is ever opened.
pub(crate) const PROTOCOLS: &str = "none";

/// The containers, and the usual kinds of bare video, which get the verdict that they have no sound. Samples without a
/// header (`alaw` to `u8`) are taken by their extension alone, as the `ffmpeg` command takes them: one channel of
/// 44,100 Hz. Left out are playlists, devices, images and subtitles.
pub(crate) const FORMATS: &str = "\
    3dostr,4xm,aa,aac,aax,ac3,ace,acm,act,adp,ads,adx,aea,afc,aiff,aix,alaw,alp,amr,amrnb,amrwb,apc,ape,apm,aptx,aptx_hd,\
    argo_asf,argo_brp,argo_cvg,asf,asf_o,ast,au,av1,avi,avr,avs,bethsoftvid,bfi,bfstm,binka,bink,bit,bmv,\
    boa,brstm,c93,caf,cdxl,codec2,daud,dcstr,derf,dfpwm,dhav,dsf,dsicin,dss,dts,dtshd,dv,dxa,ea,ea_cdata,\
    eac3,epaf,film_cpk,flac,flic,flv,frm,fsb,fwse,g722,g723_1,g729,gdv,genh,gif,gsm,gxf,h264,hca,hcom,hevc,\
    hnm,idcin,iff,ifv,ilbc,ipmovie,ircam,iss,iv8,ivf,ivr,jv,kux,kvag,libgme,libopenmpt,live_flv,lmlm4,loas,luodat,lvf,\
    lxf,m4v,matroska,mca,mjpeg,mlp,mlv,mm,mmf,moflex,mov,mp3,mp4,mpc,mpc8,mpeg,mpegts,mpegvideo,msf,\
    msnwctcp,msp,mtaf,mtv,mulaw,musx,mv,mvi,mxf,mxg,nc,nistsphere,nsp,nsv,nut,nuv,obu,ogg,oma,oss,paf,pmp,\
    pp_bnk,psxstr,pva,pvf,qcp,r3d,redspark,rl2,rm,roq,rpl,rsd,rso,s16le,s337m,s8,sbc,sbg,scd,sdr2,sds,sdx,sga,shn,siff,simbiosis_imx,sln,smjpeg,\
    smk,smush,sol,sox,spdif,svag,svs,swf,tak,thp,tiertexseq,tmv,truehd,tta,ty,u16le,u8,vag,vc1,vc1test,\
    vividas,vivo,vmd,voc,vpk,vqf,w64,wav,wc3movie,webm,wsaud,wsd,wsvqa,wtv,wv,wve,xa,xmv,xvag,xwma,\
    yop,yuv4mpegpipe";

/// The audio decoders. Without a video decoder, probing neither opens nor feeds one.
pub(crate) const CODECS: &str = "\
    8svx_exp,8svx_fib,aac,aac_fixed,aac_latm,ac3,ac3_fixed,acelp.kelvin,adpcm_4xm,adpcm_adx,adpcm_afc,\
    adpcm_agm,adpcm_aica,adpcm_argo,adpcm_ct,adpcm_dtk,adpcm_ea,adpcm_ea_maxis_xa,adpcm_ea_r1,adpcm_ea_r2,\
    adpcm_ea_r3,adpcm_ea_xas,g722,g726,g726le,adpcm_ima_acorn,adpcm_ima_alp,adpcm_ima_amv,adpcm_ima_apc,\
    adpcm_ima_apm,adpcm_ima_cunning,adpcm_ima_dat4,adpcm_ima_dk3,adpcm_ima_dk4,adpcm_ima_ea_eacs,\
    adpcm_ima_ea_sead,adpcm_ima_iss,adpcm_ima_moflex,adpcm_ima_mtf,adpcm_ima_oki,adpcm_ima_qt,adpcm_ima_rad,\
    adpcm_ima_smjpeg,adpcm_ima_ssi,adpcm_ima_wav,adpcm_ima_ws,adpcm_ms,adpcm_mtaf,adpcm_psx,adpcm_sbpro_2,\
    adpcm_sbpro_3,adpcm_sbpro_4,adpcm_swf,adpcm_thp,adpcm_thp_le,adpcm_vima,adpcm_xa,adpcm_yamaha,\
    adpcm_zork,alac,amrnb,amrwb,ape,aptx,aptx_hd,atrac1,atrac3,atrac3al,atrac3plus,atrac3plusal,atrac9,\
    on2avc,binkaudio_dct,binkaudio_rdft,bmv_audio,libcodec2,cook,derf_dpcm,dfpwm,dolby_e,dsd_lsbf,\
    dsd_lsbf_planar,dsd_msbf,dsd_msbf_planar,dsicinaudio,dss_sp,dst,dca,dvaudio,eac3,evrc,fastaudio,flac,\
    g723_1,g729,gremlin_dpcm,gsm,libgsm,gsm_ms,libgsm_ms,hca,hcom,iac,ilbc,imc,interplay_dpcm,\
    interplayacm,mace3,mace6,metasound,mlp,mp1,mp1float,mp2,mp2float,mp3float,mp3,mp3adufloat,mp3adu,\
    mp3on4float,mp3on4,als,msnsiren,mpc7,mpc8,nellymoser,opus,libopus,paf_audio,pcm_alaw,pcm_bluray,\
    pcm_dvd,pcm_f16le,pcm_f24le,pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,pcm_lxf,pcm_mulaw,pcm_s16be,\
    pcm_s16be_planar,pcm_s16le,pcm_s16le_planar,pcm_s24be,pcm_s24daud,pcm_s24le,pcm_s24le_planar,pcm_s32be,\
    pcm_s32le,pcm_s32le_planar,pcm_s64be,pcm_s64le,pcm_s8,pcm_s8_planar,pcm_sga,pcm_u16be,pcm_u16le,\
    pcm_u24be,pcm_u24le,pcm_u32be,pcm_u32le,pcm_u8,pcm_vidc,qcelp,qdm2,qdmc,real_144,real_288,ralf,\
    roq_dpcm,s302m,sbc,sdx2_dpcm,shorten,sipr,siren,smackaud,sol_dpcm,sonic,speex,libspeex,tak,truehd,\
    truespeech,tta,twinvq,vmdaudio,vorbis,libvorbis,wavesynth,wavpack,ws_snd1,wmalossless,wmapro,wmav1,wmav2,\
    wmavoice,xan_dpcm,xma1,xma2";

/// How well-known containers begin: what begins like this and still cannot be opened is damaged, not something else.
pub(crate) fn begins_like_media(start: &[u8]) -> bool {
    const AT_START: [&[u8]; 14] = [
        b"\x1aE\xdf\xa3",                    // Matroska, WebM
        b"RIFF",                             // AVI, WAV
        b"RF64",                             // WAV above 4 GiB
        b"riff\x2e\x91\xcf\x11",             // W64
        b"OggS",                             // Ogg
        b"FLV\x01",                          // Flash
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", // ASF: WMV, WMA
        b"\0\0\x01\xba",                     // MPEG program stream
        b"fLaC",                             // FLAC
        b"FORM",                             // AIFF
        b"caff",                             // Core Audio
        b".RMF",                             // RealMedia
        b"ID3",                              // MP3 and others behind tags
        b"#!AMR",                            // AMR
    ];
    is_mov(start) || AT_START.iter().any(|begin| start.starts_with(begin))
}

/// Whether the file begins like MP4, MOV or 3GP, the containers whose index can be at the end.
pub(crate) fn is_mov(start: &[u8]) -> bool {
    const BOXES: [&[u8]; 7] = [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"];
    start.get(4..8).is_some_and(|kind| BOXES.contains(&kind))
}
